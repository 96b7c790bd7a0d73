"""What observing costs: ``python -m benchmarks.observer [--steps N] [--rounds N]``.

Each figure stands beside its goal and beside its floor of the same run, since machines differ; what people would use
instead is measured in the same way, and named as absent where it is not installed.

- calls: one ``obs.step()`` against reading the clock and appending three values to lists. "floor" keeps the loss as a
  tensor, which keeps its graph in memory; "floor, loss read" takes the number out of it at once, and "floor, bundles"
  out of 16 losses at a time.
- blocks: observed training steps over unobserved ones, in alternating blocks of two twins in one process, by wall time
  and by the CPU time of the training's thread. "nothing" has nothing in the place of the observer: its distance from
  1 is the noise. The floors show what the ways to keep a loss cost the training, not the call.
- start: a process that imports, opens, trains and closes, against the same one without an observer.

For every layer at every step see ``python -m benchmarks.layers``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch

from benchmarks import start
from benchmarks.recorders import PEERS, Recorder, bundling_floor, floor, nothing, observer, reading_floor
from benchmarks.twins import Twin, convolutional, perceptron, ratios

Make = Callable[[str, Any], Recorder]


def call_times(record: Callable[..., object], calls: int) -> tuple[float, float, float]:
    """Return median, 99th percentile and mean of one call, in microseconds."""
    loss = torch.tensor(0.5, requires_grad=True) * 1
    times = []
    for number in range(calls):
        began = perf_counter()
        record(number, loss, batch_size=64)
        times.append(perf_counter() - began)
    times.sort()
    return times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6, statistics.fmean(times) * 1e6


def print_calls(rounds: int) -> None:
    """Print what one call costs. All are measured in turn, ``rounds`` times; the slow ones with fewer calls."""
    heads = f"{'p50 us':>10}{'p99 us':>10}{'mean us':>10}{'p50 / floor':>13}{'/ loss read':>13}"
    print(f"{'calls':24}{heads}   goals: 1.5 x floor, p99 100 us")
    rows: dict[str, Make] = {
        "nothing": nothing,
        "floor": floor,
        "floor, loss read": reading_floor,
        "floor, bundles": bundling_floor,
    }
    rows |= {"obs.step()": observer, **PEERS}
    with tempfile.TemporaryDirectory() as folder:
        made = {name: recorder for name, make in rows.items() if (recorder := opened(name, make, folder, None))}
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in made}
        for _ in range(rounds):
            for name, recorder in made.items():
                found[name].append(call_times(recorder.step, 200 if name in PEERS else 5_000))
        for name, recorder in made.items():
            recorder.close()
            middle, high, mean = (statistics.median(column) for column in zip(*found[name], strict=True))
            over = [
                statistics.median(ours[0] / least[0] for ours, least in zip(found[name], found[each], strict=True))
                for each in ("floor", "floor, loss read")
            ]
            print(f"{name:24}{middle:10.2f}{high:10.2f}{mean:10.2f}{over[0]:13.2f}{over[1]:13.2f}")


def opened(name: str, make: Make, folder: str, model: Any) -> Recorder | None:
    """Return what ``make`` opens; None, and a line that says so, where it is not installed."""
    try:
        return make(folder, model)
    except ImportError as error:
        print(f"{name:24}absent ({error})")
        return None


def block_ratios(twin: Callable[[], Twin], make: Make, steps: int, block: int) -> tuple[float, float]:
    """Return observed over unobserved blocks, by wall and by CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        watched = twin()
        recorder = make(folder, watched.model)
        try:
            return ratios(
                lambda: recorder.step(0, watched.step(recorder.before), batch_size=64), twin().step, steps, block
            )
        finally:
            recorder.close()


def print_blocks(steps: int, rounds: int) -> None:
    """Print the ratios of blocks: the median of ``rounds``, in turn."""
    print(f"\n{'blocks':44}{'wall':>8}{'CPU':>8}{'goal':>8}")
    deep = partial(perceptron, 30)
    rows: list[tuple[str, Callable[[], Twin], Make, int, str]] = [
        ("perceptron, nothing", perceptron, nothing, steps, ""),
        ("perceptron, floor", perceptron, floor, steps, ""),
        ("perceptron, floor, loss read", perceptron, reading_floor, steps, ""),
        ("perceptron, floor, bundles", perceptron, bundling_floor, steps, ""),
        ("perceptron, obs, economy", perceptron, partial(observer, preset="economy"), steps, "1.01"),
        ("perceptron, obs, default", perceptron, observer, steps, "1.01"),
        ("30 layers, nothing", deep, nothing, steps // 4, ""),
        ("30 layers, obs, default", deep, observer, steps // 4, "1.02"),
        ("small CNN, nothing", convolutional, nothing, steps // 20, ""),
        ("small CNN, obs, full", convolutional, partial(observer, preset="full"), steps // 20, "1.10"),
    ]
    rows += [(f"perceptron, {name}", perceptron, make, steps // 20, "") for name, make in PEERS.items()]
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, twin, make, count, _goal in rows:
            try:
                found.setdefault(name, []).append(block_ratios(twin, make, count, 5 if twin is convolutional else 25))
            except ImportError:
                found.setdefault(name, [])
    for name, _twin, _make, _count, goal in rows:
        if not found[name]:
            print(f"{name:44}  absent")
            continue
        wall, cpu = (statistics.median(column) for column in zip(*found[name], strict=True))
        print(f"{name:44}{wall:8.3f}{cpu:8.3f}{goal:>8}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_000, help="training steps for each ratio (default 4000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is measured, in turn (default 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_calls(options.rounds)
    print_blocks(options.steps, options.rounds)
    start.print_table(options.rounds)


if __name__ == "__main__":
    main()
