"""What other trackers get asked, too: the latest runs with their final metrics, and the curves of one run and of five.

Asked as programs ask, with an API key; beside it the least that Django can do on the same database
(`benchmarks.pages_floor`), and MLflow where it is installed (`benchmarks.pages_peer`).
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import pages_peer
from benchmarks.pages_peer import LATEST, expect
from benchmarks.pages_served import FLOOR, Reader, Store, in_turns, ratio, serving
from benchmarks.pages_store import LONG_EPOCHS, METRICS

Ask = Callable[[], object]
FIELDS = "id,name,status,train_loss,val_loss,metrics"


@dataclass(frozen=True)
class Question:
    """``goal`` is said of the median; ``growth`` and ``ratio`` only where there is such a goal.

    The milliseconds are those of the machine that the goals were set on, where the floor took ``floor_milliseconds``;
    on another one their ratio counts.
    """

    name: str
    most_milliseconds: float
    floor_milliseconds: float
    growth: float | None = None
    ratio: float | None = None

    @property
    def goal(self) -> str:
        growth = f", growth <= {self.growth}" if self.growth else ""
        ratio = f", MLflow >= {self.ratio:.0f}x" if self.ratio else ""
        return f"<= {self.most_milliseconds:.0f} ms or {self.over_floor:.1f}x floor{growth}{ratio}"

    @property
    def over_floor(self) -> float:
        return self.most_milliseconds / self.floor_milliseconds

    def misses(self, ours: float, over: float, growth: float, peer: float | None) -> list[str]:
        """Return what is missed, for the time with the largest store, which is ``over`` times that of the floor."""
        missed = ["time"] if ours > self.most_milliseconds and over > self.over_floor else []
        if self.growth and growth > self.growth:
            missed.append("growth")
        if self.ratio and peer is not None and peer / ours < self.ratio:
            missed.append("ratio")
        return missed


QUESTIONS = (
    Question("C1: latest 50 with final metrics", 3.0, 1.0, growth=1.2),
    Question("C2: one run, 20,000 values", 10.0, 4.1, ratio=50.0),
    Question("C3: five runs, 100,000 values", 60.0, 49.0),
)


def measure(stores: Mapping[int, Store], requests: int, mlflow: str) -> Iterator[str]:
    """Yield the lines of a table: ours at each size, the floor and MLflow at the largest."""
    sizes = sorted(stores)
    largest = {sizes[-1]: stores[sizes[-1]]}
    with contextlib.ExitStack() as stack:
        ports = stack.enter_context(serving(stores))
        floor_port = stack.enter_context(serving(largest, FLOOR))[sizes[-1]]
        asked: dict[int | str, list[Ask]] = {size: _ours(ports[size], stores[size]) for size in sizes}
        asked["floor"] = _floor(floor_port, stores[sizes[-1]])
        peer = stack.enter_context(pages_peer.serving(mlflow, sizes[-1])) if mlflow else None
        theirs = peer.questions() if peer else []
        heads = [*(f"{size:,} sessions" for size in sizes), "growth", "floor (ours)", "MLflow (theirs)", "goal"]
        yield f"| question, p50 in ms | {' | '.join(heads)} | |"
        yield f"| --- | {'---: | ' * (len(sizes) + 3)}--- | --- |"
        for place, question in enumerate(QUESTIONS):
            times = in_turns({who: asks[place] for who, asks in asked.items()}, requests)
            middle = {who: statistics.median(each) for who, each in times.items()}
            few = max(2, requests // 20)
            other = statistics.median(in_turns({"peer": theirs[place]}, few, warm_up=1)["peer"]) if theirs else None
            growth, over = (ratio(times[sizes[-1]], times[base]) for base in (sizes[0], "floor"))
            yield _line(question, [middle[size] for size in sizes], growth, (middle["floor"], over), other)


def _line(question: Question, ours: list[float], growth: float, floor: tuple[float, float], peer: float | None) -> str:
    shown = " | ".join(f"{each:.1f}" for each in ours)
    beside = "absent" if peer is None else f"{peer:.0f} ({peer / ours[-1]:.0f}x)"
    least, over = floor
    missed = question.misses(ours[-1], over, growth, peer)
    met = "met" if ours[-1] <= question.most_milliseconds else "met as a ratio"
    verdict = f"missed: {', '.join(missed)}" if missed else met
    figures = f"{shown} | {growth:.2f} | {least:.1f} ({over:.1f}x) | {beside}"
    return f"| {question.name} | {figures} | {question.goal} | {verdict} |"


def _ours(port: int, store: Store) -> list[Ask]:
    facts = store.facts
    of_many, of_long = (Reader(port, {"Authorization": f"Bearer {facts[key]}"}) for key in ("key", "long_key"))
    latest = f"/api/sessions?project={facts['project']}&page_size={LATEST}&fields={FIELDS}&count=false"
    one = f"/api/sessions/{facts['long'][0]}/metrics"
    five = f"/api/metrics?sessions={','.join(map(str, facts['long']))}"
    _expect_latest(json.loads(of_many.get(latest))["results"])
    _expect_curves([json.loads(of_long.get(one))])
    _expect_curves([each["metrics"] for each in json.loads(of_long.get(five))["sessions"]])
    return [partial(of_many.get, latest), partial(of_long.get, one), partial(of_long.get, five)]


def _floor(port: int, store: Store) -> list[Ask]:
    reader, long = Reader(port, {}), store.facts["long"]
    latest, one, five = f"/latest/{store.facts['project']}", f"/curves/{long[0]}", f"/curves/{','.join(map(str, long))}"
    _expect_latest(json.loads(reader.get(latest))["results"])
    for path in (one, five):
        _expect_curves(list(json.loads(reader.get(path)).values()))
    return [partial(reader.get, path) for path in (latest, one, five)]


def _expect_latest(found: list[dict[str, Any]]) -> None:
    # The loss has columns of its own.
    expect(sum(len(each["metrics"]) + 1 for each in found), LATEST * METRICS)


def _expect_curves(found: list[dict[str, list[float]]]) -> None:
    names = [name for each in found for name in each if name.startswith("loss.val.")]
    expect(len(names) * LONG_EPOCHS, len(found) * LONG_EPOCHS * METRICS)
