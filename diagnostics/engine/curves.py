"""Numerics shared by the checks: noise, trends and ratios of short series.

All functions take and return one-dimensional float64 arrays without NaN, unless they say otherwise, and accept
empty ones.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_ONE_SIGMA = 0.6827
# Share of a normal distribution within one standard deviation.

_NOTHING = slice(0, 0)

_SORTED = 500
# Up to this length sorting costs no more than finding two of the values.

_LONGEST = 400
# Pairs grow with the square of the length; a trend of 400 points is the trend of the series.


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return ``numerator / denominator`` where the denominator is positive, NaN elsewhere. NaN may be given."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def median(values: Floats) -> float:
    """Return what `numpy.median` does of one row of numbers, at a fifth of its price; NaN of nothing and of NaN."""
    size = values.size
    if not size:
        return math.nan
    half = size // 2
    ordered = np.partition(values, (half - 1, half, size - 1)) if size > _SORTED else np.sort(values)
    if ordered[-1] != ordered[-1]:
        # What is no number is sorted to the end.
        return math.nan
    return float(ordered[half]) if size % 2 else float((ordered[half - 1] + ordered[half]) / 2)


def quantile(values: Floats, share: float) -> float:
    """Return what `numpy.quantile` does of numbers without NaN, at a tenth of its price. Raises IndexError for none."""
    place = share * (values.size - 1)
    below = int(place)
    if below + 1 >= values.size:
        return float(values.max())
    ordered = np.partition(values, (below, below + 1)) if values.size > _SORTED else np.sort(values)
    low, high = float(ordered[below]), float(ordered[below + 1])
    part = place - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def robust_sigma(values: Floats) -> float:
    """Return the standard deviation as the median absolute deviation sees it; 0 for fewer than 3 values.

    Half of the values may be outliers (Rousseeuw and Croux, JASA 88 (1993) 1273).
    """
    if values.size < 3:
        return 0.0
    return MAD_TO_SIGMA * median(np.abs(values - median(values)))


def noise(values: Floats, event: slice = _NOTHING) -> float:
    """Return the standard deviation of the jitter around a smooth curve; 0 where fewer than 3 bends tell it.

    Second differences cancel the curve (pseudo-residuals of Gasser, Sroka and Jennen-Steinmetz, Biometrika 73 (1986)
    625). Their 68 % quantile is one sigma; it ignores single jumps as the MAD does, and scatters less. What touches
    ``event``, the part that is to be judged, does not count: a jump must not be its own excuse. NaN may be given.
    """
    bends = np.abs(values[2:] - 2 * values[1:-1] + values[:-2])
    counts = np.isfinite(bends)
    start, stop, _ = event.indices(values.size)
    if start < stop:
        counts[max(0, start - 2) : stop] = False
    bends = bends[counts]
    if bends.size < 3:
        return 0.0
    # A few bends may all be small by chance.
    widened = 1 + 2 / bends.size
    return widened * quantile(bends, _ONE_SIGMA) / math.sqrt(6)


def smooth(values: Floats) -> Floats:
    """Return the running median of three; an end is the mean of its two values."""
    if values.size < 3:
        return values.copy()
    inner = np.median(np.stack((values[:-2], values[1:-1], values[2:])), axis=0)
    return np.concatenate(([values[:2].mean()], inner, [values[-2:].mean()]))


def slope(values: Floats) -> float:
    """Return the Theil-Sen slope per entry: the median of the slopes of all pairs (Sen, JASA 63 (1968) 1379)."""
    y, step = _thin(values)
    if y.size < 2:
        return 0.0
    low, high = _pairs(y.size)
    return median((y[high] - y[low]) / (high - low)) / step


def rise_p_value(values: Floats) -> float:
    """Return the one-sided p-value of an upward trend (Mann-Kendall, ties and autocorrelation corrected); 1 for
    fewer than 4 values.

    The variance grows by the significant autocorrelation of the ranks around the trend (Hamed and Rao, J. Hydrology
    204 (1998) 182), without which a random walk looks like a trend.
    """
    y, _ = _thin(values)
    n = y.size
    if n < 4:
        return 1.0
    low, high = _pairs(n)
    score = float(np.sign(y[high] - y[low]).sum())
    _, ties = np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    variance *= _autocorrelation_factor(y)
    if variance <= 0 or score <= 0:
        return 1.0
    return 0.5 * math.erfc((score - 1) / math.sqrt(2 * variance))


def _autocorrelation_factor(values: Floats) -> float:
    n = values.size
    if n < 10:
        return 1.0
    around = values - slope(values) * np.arange(n)
    if np.ptp(around) <= 1e-9 * np.ptp(values):
        # What is left of a straight line is rounding, in which there is a pattern but no meaning.
        return 1.0
    ranks = np.argsort(np.argsort(around)).astype(np.float64)
    ranks -= ranks.mean()
    spread = float(ranks @ ranks)
    lags = np.arange(1, min(n // 3, 10) + 1)
    correlations = np.array([float(ranks[lag:] @ ranks[:-lag]) for lag in lags]) / spread
    correlations[np.abs(correlations) < 1.96 / math.sqrt(n)] = 0
    weights = (n - lags) * (n - lags - 1) * (n - lags - 2)
    return max(1.0, 1 + 2 * float((weights * correlations).sum()) / (n * (n - 1) * (n - 2)))


@lru_cache(maxsize=8)
def _pairs(size: int) -> tuple[Ints, Ints]:
    low, high = np.triu_indices(size, 1)
    return low, high


def _thin(values: Floats) -> tuple[Floats, float]:
    """Return at most `_LONGEST` evenly spaced values and their distance."""
    if values.size <= _LONGEST:
        return values, 1.0
    picked = np.linspace(0, values.size - 1, _LONGEST).astype(np.int64)
    return values[picked], (values.size - 1) / (_LONGEST - 1)
