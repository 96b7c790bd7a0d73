"""Runs of so few epochs that the course of the loss shows in their steps alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnostics.engine.curves import Floats, noise, smooth
from diagnostics.engine.once import once
from diagnostics.engine.run import Run
from diagnostics.engine.task import game_of
from diagnostics.engine.thresholds import DiagnosticThresholds

_LEAST = 6
_LEAST_WINDOW = 3
# Logged values, of the run and of a rise that lasts, below which there is no course.
_RECOVERED = 1.2
# Last losses over the lowest ones that show a loss that came back.


@dataclass(frozen=True, slots=True)
class LastingRise:
    """A loss that rose within a short run and stayed up: ``low`` and ``high`` are the levels before and after it,
    ``at`` and ``first`` the places in the step series where it had risen and where it was lowest."""

    low: float
    high: float
    first: int
    at: int
    row: int
    highest_before: float
    recovered: bool


@once
def lasting_rise(run: Run, limits: DiagnosticThresholds) -> LastingRise | None:
    """Return the rise of the logged losses of a run with fewer epochs than show a course, None if there is none.

    All losses of a quarter of the run must be twice the lowest level before, by a fifth of what had been gained and by
    more than noise (five standard deviations of what is logged), so that no single batch decides.
    """
    if run.column("loss.train_mean").finite.size >= limits.short_history:
        return None
    series = run.steps("loss_mean")
    kept = np.flatnonzero(np.isfinite(series.values))
    loss = series.values[kept].astype(np.float64)
    if loss.size < _LEAST or game_of(run):
        return None
    window = max(_LEAST_WINDOW, loss.size // 4)
    level = smooth(loss)
    first = int(np.argmin(level[: loss.size - window]))
    lowest = np.lib.stride_tricks.sliding_window_view(loss, window)[first + 1 :].min(axis=1)
    at = first + 1 + int(np.argmax(lowest))
    low, high = float(level[first]), float(lowest.max())
    gained = float(np.median(loss[:_LEAST_WINDOW])) - low
    doubtful = limits.divergence_rise_se * _jitter(loss, first, at)
    if low <= 0 or high <= limits.loss_explosion_ratio * low or high - low <= max(limits.swing_pct * gained, doubtful):
        return None
    end = float(np.median(loss[-window:]))
    return LastingRise(
        low=low,
        high=high,
        first=int(kept[first]),
        at=int(kept[at]),
        row=int(series.rows[kept[at]]),
        highest_before=float(loss[:at].max()),
        recovered=end <= _RECOVERED * low,
    )


def _jitter(loss: Floats, first: int, at: int) -> float:
    """Return how much logged losses scatter where they neither fall steeply nor rise; 0 if too few tell it."""
    calm = np.concatenate((loss[first // 2 : first + 1], loss[at:]))
    return noise(calm) if calm.size >= 2 * _LEAST else 0.0
