"""Mean, spread and extremes of a stream of numbers, mergeable, with NaN and infinity passed through."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Moments:
    """``squares`` is the sum of squared distances from the mean. ``first_non_finite`` is a step's number."""

    count: int
    mean: float
    squares: float
    low: float
    high: float
    non_finite: int = 0
    first_non_finite: int | None = None

    @property
    def std(self) -> float:
        """Standard deviation of the whole population: 0.0 for one number, NaN when any was not finite."""
        return math.sqrt(self.squares / self.count)


def moments(values: Sequence[float], steps: Sequence[int], first: int = 0) -> Moments:
    """Return the moments of ``values`` (at least one), noted at ``steps`` counted from step ``first``."""
    count = len(values)
    total = sum(values)
    if math.isfinite(total):
        mean = total / count
        distances = [value - mean for value in values]
        return Moments(count, mean, sum([each * each for each in distances]), min(values), max(values))
    strange = [place for place, value in enumerate(values) if not math.isfinite(value)]
    if not strange:
        # The sum ran over, none of the numbers did.
        mean = sum(value / count for value in values)
        return Moments(count, mean, math.inf, min(values), max(values))
    nan = any(math.isnan(value) for value in values)
    return Moments(
        count,
        mean=math.nan if nan else total,
        squares=math.nan,
        low=math.nan if nan else min(values),
        high=math.nan if nan else max(values),
        non_finite=len(strange),
        first_non_finite=first + steps[strange[0]],
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of both streams together, ``a`` first."""
    count = a.count + b.count
    share_a, share_b = a.count / count, b.count / count
    apart = b.mean - a.mean
    nan = math.isnan(a.low) or math.isnan(b.low)
    return Moments(
        count,
        # Not a.mean + apart * share_b: that turns an infinity into NaN.
        mean=a.mean * share_a + b.mean * share_b,
        squares=a.squares + b.squares + apart * apart * a.count * share_b,
        low=math.nan if nan else min(a.low, b.low),
        high=math.nan if nan else max(a.high, b.high),
        non_finite=a.non_finite + b.non_finite,
        first_non_finite=a.first_non_finite if a.first_non_finite is not None else b.first_non_finite,
    )


def merged(parts: Iterable[Moments | None]) -> Moments | None:
    """Return all ``parts`` as one, None when there is none."""
    whole: Moments | None = None
    for part in parts:
        if part is not None:
            whole = part if whole is None else merge(whole, part)
    return whole
