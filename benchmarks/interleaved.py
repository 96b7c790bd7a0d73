"""Times that can be compared on a busy machine: taken in turn, in one process, as ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

LEAST_SECONDS = 0.002
"""What is quicker is done several times in a row, since a clock and a cache have their own times."""


def seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the times of each of ``ways`` in each round, in which each has its turn."""
    repeats = {name: max(1, int(LEAST_SECONDS / _once(work))) for name, work in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(_once(work, repeats[name]))
    return times


def ratios(times: Mapping[str, list[float]], floor: str) -> dict[str, float]:
    """Return the median over the rounds of each way's time over that of ``floor`` in the same round."""
    pairs = {name: zip(taken, times[floor], strict=True) for name, taken in times.items()}
    return {name: median(own / least for own, least in pair) for name, pair in pairs.items()}


def _once(work: Callable[[], object], repeats: int = 1) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - begin) / repeats
