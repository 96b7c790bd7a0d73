"""Compares the ranks of a distributed training: whether they hold the same model, and whether one holds up the rest."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from observer_client import ranks
from observer_client.config import ObserverConfig
from observer_client.guard import harmless
from observer_client.parameters import checksums, replicated, signature
from observer_client.rankcrashes import CrashWord
from observer_client.record import Epoch, LogLine
from observer_client.signal_records import Ranks
from observer_client.window import Window
from observer_client.worktime import WorkClock

if TYPE_CHECKING:
    import torch

KEPT = 8
FIRST_WINDOWS = 8
RARELY = 0.5
"""Seconds between two digests: where windows are shorter, only one in two, four, eight ... is compared."""

Digest = dict[str, Any]


class RankWatch:
    """What a rank tells of each window, and on rank 0 what the others told.

    ``follows`` says that this rank does not report: rank 0 speaks for the run.
    """

    def __init__(self, config: ObserverConfig) -> None:
        self.follows = config.mode != "disabled" and ranks.rank() != 0
        self._box = ranks.DropBox(config)
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._clock: WorkClock | None = None
        self._start: list[int] | None = None
        self._kept: deque[Digest] = deque(maxlen=KEPT)
        self._alike: set[int] = set()
        """Ranks that held the same parameters as rank 0 once. Others may be meant to hold their own."""
        self._compared = -1
        self._stride = 1
        self._told_at = 0.0
        self._opened = False
        self._rank, self._world = ranks.rank(), 1
        self._last: Epoch | None = None
        self._crashes = CrashWord(self._box)

    def open(self) -> None:
        """Begin a run."""
        self._opened = not self.follows and _expected() > 1
        if self._opened:
            self._box.open()

    @harmless
    def watch(self, model: torch.nn.Module) -> None:
        """Watch ``model``; where it is wrapped for data parallel training, the model inside."""
        self.leave()
        inner: Any = getattr(model, "module", model)
        self._model = weakref.ref(inner if hasattr(inner, "named_parameters") else model)
        if ranks.world_size() > 1 or ranks.rank() > 0:
            self._hang()

    def _hang(self) -> None:
        model = self._model() if self._model else None
        if model is not None:
            self._clock = WorkClock(model, self._begin)

    @harmless
    def _begin(self) -> None:
        # Before the first pass, not when the model is told: wrapping it makes the ranks alike.
        model = self._model() if self._model else None
        if model is not None and ranks.world_size() > 1:
            self._start = checksums(replicated(model))

    @harmless
    def add_to(self, record: Epoch, window: Window) -> None:
        """Tell the others of the window that ended, or on rank 0 add to ``record`` what they told."""
        model = self._model() if self._model else None
        if ranks.world_size() > 1:
            # Remembered, since the processes may part before the run ends.
            self._rank, self._world = ranks.rank(), ranks.world_size()
        if model is None or self._world < 2:
            return
        if self._clock is None:
            # The ranks found each other after the model was told.
            self._hang()
        if self._is_due(record.epoch):
            self._kept.append(self._digest(model, record, window))
            if self.follows:
                self._box.put(self._rank, list(self._kept))
        if not self.follows and self._opened:
            record.ranks, self._last = self._compare(), record
        elif not self.follows:
            self.open()

    def last_comparison(self, seconds: float) -> Epoch | None:
        """Return the last epoch with the comparison of its own window, None where that was told already.

        Waits at most ``seconds`` for the word of the other ranks.
        """
        last, self._last = self._last, None
        newest = self._kept[-1] if self._kept else None
        if last is None or newest is None or newest["epoch"] <= self._compared:
            return None
        until = monotonic() + seconds
        while self._heard_of(newest) < self._world - 1 and monotonic() < until:
            sleep(0.02)
        found = self._compare()
        return None if found is None else replace(last, ranks=found)

    def _heard_of(self, own: Digest) -> int:
        return sum(any(_window(each) == _window(own) for each in told) for _, told in self._box.take())

    def crashed(self, error: BaseException) -> None:
        """Tell rank 0 what ends this rank."""
        if self.follows:
            self._crashes.leave(self._rank, error)

    @harmless
    def hear(self, keep: Callable[[LogLine], object]) -> None:
        """Hand the last words of ranks that crashed to ``keep``, as lines of the log, once."""
        if self._opened:
            self._crashes.hear(keep)

    def ended(self, status: str, reason: str | None, keep: Callable[[LogLine], object]) -> tuple[str, str | None]:
        """Return why the run ended that for rank 0 ends by ``status`` and ``reason``: perhaps another rank began it."""
        self.hear(keep)
        return self._crashes.cause(status, reason) if self._opened else (status, reason)

    def _is_due(self, epoch: int) -> bool:
        # Which windows those are must not depend on one rank's clock alone: powers of two have multiples in common.
        if epoch >= FIRST_WINDOWS and epoch % self._stride:
            return False
        now = monotonic()
        if epoch >= FIRST_WINDOWS and now - self._told_at < RARELY:
            self._stride *= 2
        self._told_at = now
        return True

    def _digest(self, model: Any, record: Epoch, window: Window) -> Digest:
        weights = replicated(model)
        return {
            "epoch": record.epoch,
            "attempt": record.attempt,
            "loss": record.loss.train_mean if record.loss else None,
            "step_seconds": window.busy() / len(window) if len(window) else None,
            "work_seconds": self._clock.read() if self._clock else None,
            "kind": signature(weights),
            "start": self._start,
            "parameters": checksums(weights),
        }

    def _compare(self) -> Ranks | None:
        """Return how the ranks compare in the newest window that most of the others have told of."""
        told = {sender: {_window(each): each for each in digests} for sender, digests in self._box.take()}
        best: tuple[Digest, dict[int, Digest]] | None = None
        for own in self._kept:
            others = {sender: each[_window(own)] for sender, each in told.items() if _window(own) in each}
            if others and own["epoch"] > self._compared and (best is None or len(others) >= len(best[1])):
                best = own, others
        if best is None:
            return None
        self._compared = best[0]["epoch"]
        return self._verdict(*best)

    def _verdict(self, own: Digest, others: dict[int, Digest]) -> Ranks:
        found = Ranks(world_size=self._world, reporting=len(others) + 1, epoch=own["epoch"])
        all_of_them = {0: own, **others}
        found.step_seconds = _median([each.get("step_seconds") for each in all_of_them.values()])
        found.losses = {str(sender): each.get("loss") for sender, each in all_of_them.items()}
        self._add_parameters(found, own, others)
        work = {sender: each["work_seconds"] for sender, each in all_of_them.items() if each.get("work_seconds")}
        found.work_seconds = {str(sender): seconds for sender, seconds in work.items()}
        if len(work) > 1:
            found.slowest = max(work, key=lambda sender: work[sender])
            found.slowest_work_seconds = work.pop(found.slowest)
            found.others_work_seconds = median(work.values())
        return found

    def _add_parameters(self, found: Ranks, own: Digest, others: dict[int, Digest]) -> None:
        same = {sender: each for sender, each in others.items() if own["parameters"] and each["kind"] == own["kind"]}
        for sender, each in same.items():
            if own["start"] and own["start"] == each["start"] or own["parameters"] == each["parameters"]:
                self._alike.add(sender)
        comparable = [sender for sender in same if sender in self._alike]
        if not comparable:
            return
        apart = [sender for sender in comparable if same[sender]["parameters"] != own["parameters"]]
        found.parameters, found.diverged = len(own["parameters"]), len(apart)
        if apart:
            found.first_diverged = apart[0]
            pairs = zip(own["parameters"], same[apart[0]]["parameters"], strict=True)
            found.parameters_diverged = sum(mine != theirs for mine, theirs in pairs)

    def leave(self) -> None:
        """Take the hooks away."""
        if self._clock is not None:
            self._clock.leave()
            self._clock = None

    def close(self) -> None:
        """End the run."""
        self.leave()
        if self._opened:
            self._opened = False
            self._box.clear()


def _expected() -> int:
    """Return how many ranks there will be, as far as anybody says so yet."""
    told = os.environ.get("WORLD_SIZE", "")
    return max(ranks.world_size(), int(told) if told.isdigit() else 1)


def _window(digest: Digest) -> tuple[Any, Any]:
    return digest.get("epoch"), digest.get("attempt")


def _median(values: list[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return median(known) if known else None
