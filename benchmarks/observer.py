"""What observing costs: ``python -m benchmarks.observer [--steps N]``.

Figures are ratios to a floor of the same run, since machines differ:

- blocks: the time of observed training steps over unobserved ones, in alternating blocks in one process, on a tiny
  model whose step takes about 0.4 ms. "noise" is the same with nothing in the place of the observer.
- call: one ``obs.step()`` against reading the clock and appending three values to lists.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from time import perf_counter, process_time

import torch

from observer_client import Observer, ObserverConfig

BLOCK = 25


def make_step() -> Callable[[], torch.Tensor]:
    """Return one training step of a small perceptron."""
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(64, 32), torch.randint(0, 10, (64,))

    def step() -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def block_ratio(record: Callable[[int, torch.Tensor], object], steps: int, clock: Callable[[], float]) -> float:
    """Return the median of observed over unobserved blocks, the order changing from pair to pair."""
    train = make_step()

    def block(observed: bool) -> float:
        began = clock()
        for number in range(BLOCK):
            loss = train()
            if observed:
                record(number, loss)
        return clock() - began

    for _ in range(20):
        block(observed=True)
    ratios = []
    for pair in range(steps // BLOCK):
        order = (True, False) if pair % 2 else (False, True)
        spent = {observed: block(observed) for observed in order}
        ratios.append(spent[True] / spent[False])
    return statistics.median(ratios)


def call_times(record: Callable[[int, torch.Tensor], object], calls: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of one call, in microseconds."""
    loss = torch.tensor(0.5, requires_grad=True) * 1
    times = []
    for number in range(calls):
        began = perf_counter()
        record(number, loss)
        times.append(perf_counter() - began)
    times.sort()
    return times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6


def floor() -> Callable[[int, torch.Tensor], object]:
    """Return the least that could be called recording: the clock and three appends."""
    times, losses, sizes = [], [], []

    def append(number: int, loss: torch.Tensor) -> None:
        times.append(perf_counter())
        losses.append(loss)
        sizes.append(64)
        if len(times) > 10_000:
            times.clear(), losses.clear(), sizes.clear()

    return append


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="training steps for each ratio (default 10000)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        config = ObserverConfig(mode="offline", directory=folder, quiet=True)
        with Observer(config=config) as observer:

            def observe(number: int, loss: torch.Tensor) -> None:
                observer.step(number, loss, batch_size=64)

            print_table(
                [("nothing", lambda number, loss: None), ("floor", floor()), ("obs.step()", observe)], options.steps
            )


def print_table(rows: list[tuple[str, Callable[[int, torch.Tensor], object]]], steps: int) -> None:
    print(f"{'':12}{'blocks, wall':>14}{'blocks, CPU':>14}{'call p50 us':>14}{'call p99 us':>14}{'p50 / floor':>14}")
    calls = {name: call_times(record, 50_000) for name, record in rows}
    for name, record in rows:
        wall, cpu = (block_ratio(record, steps, clock) for clock in (perf_counter, process_time))
        middle, high = calls[name]
        print(f"{name:12}{wall:14.3f}{cpu:14.3f}{middle:14.2f}{high:14.2f}{middle / calls['floor'][0]:14.2f}")


if __name__ == "__main__":
    main()
