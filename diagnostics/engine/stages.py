"""Where a new stage of a training begins: other data, another objective or other weights from one epoch to the next."""

from __future__ import annotations

import numpy as np

from diagnostics.engine.curves import Floats
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_LEAST = 4
# Buckets of steps that an epoch must have for its first one to be told from the others.
_RATE_RISES = 1.5

_BESIDE = 8
# Steps before and after one that are compared.
_FLAT_TOP = 1.3
# Loss of the first step of a stage over that of the next ones; the loss of a wild batch is far above what it leaves.

NEW_STAGE = "at once and for a while, as with new data, a new objective or a restored checkpoint"


def begins_stage(run: Run, limits: DiagnosticThresholds, row: int) -> bool:
    """Return whether the training loss of epoch ``row`` is higher than before because something else is trained.

    Steps that are too large throw a loss up at any step, and announce it by large gradients. A curriculum, new classes,
    another data set or another weight of a loss do so at the first step of an epoch, out of calm, while the learning
    rate stays; and what is new is learned (Bengio et al., "Curriculum Learning", ICML 2009).
    """
    series = run.steps("loss_mean")
    losses = series.values.astype(np.float64)
    before, after = losses[series.rows == row - 1], losses[series.rows == row]
    if row < 1 or min(before.size, after.size) < _LEAST or not np.isfinite(np.append(before, after)).all():
        return False
    low, high = float(np.median(before)), float(np.median(after[: max(2, after.size // 4)]))
    half = low + (high - low) / 2
    sharp = high > low and after[0] > half and before[-2:].max() < half
    return bool(sharp and not _rate_rises(run, row) and _is_calm(run, row, limits) and _learns(run, row, high - low))


def stage_at_step(run: Run, limits: DiagnosticThresholds, at: int) -> bool:
    """Return whether the high loss at place ``at`` of the step series belongs to a new stage: one that began with its
    epoch, or at this very step, which is then no higher than those after it, and out of calm."""
    series = run.steps("loss_mean")
    losses, rows = series.values.astype(np.float64), series.rows
    row = int(rows[at])
    first, length = int(np.searchsorted(rows, row)), int(np.count_nonzero(rows == row))
    if at - first <= length // 2 and begins_stage(run, limits, row):
        return True
    before, after = losses[max(0, at - _BESIDE) : at], losses[at : at + _BESIDE]
    counts = run.steps("count").values
    single = counts.size == losses.size and np.all(counts[max(0, at - _BESIDE) : at + _BESIDE] == 1)
    if not single or min(before.size, after.size) < _BESIDE or not np.isfinite(np.append(before, after)).all():
        return False
    low, high = float(np.median(before)), float(np.median(after))
    half = low + (high - low) / 2
    sharp = after.min() > half > before[-2:].max() and after[0] <= _FLAT_TOP * float(np.median(after[1:]))
    norms = run.steps("grad_norm_max").values[max(0, at - _BESIDE) : at].astype(np.float64)
    calm = not norms.size or bool(norms[-2:].max() <= limits.blow_up_ratio * np.median(norms))
    rest = losses[at + _BESIDE :]
    learned = rest.size < _BESIDE or bool(np.median(rest[-_BESIDE:]) < half)
    return bool(sharp and calm and learned and not _rate_rises(run, row))


def _rate_rises(run: Run, row: int) -> bool:
    rate = run.column("learning_rate").values
    return bool(row and rate[row] > _RATE_RISES * rate[row - 1])


def _is_calm(run: Run, row: int, limits: DiagnosticThresholds) -> bool:
    """Return whether the last steps before the epoch had gradients like all others of theirs."""
    series = run.steps("grad_norm_max")
    norms = series.values[series.rows == row - 1].astype(np.float64)
    if norms.size < _LEAST or not np.isfinite(norms).all():
        return True
    return bool(norms[-2:].max() <= limits.blow_up_ratio * np.median(norms))


def _learns(run: Run, row: int, jump: float) -> bool:
    """Return whether a tenth of the jump is won back, or the run has not had the time."""
    later = _until_next(run.column("loss.train_mean").values[row:], jump)
    series = run.steps("loss_mean")
    within = series.values[series.rows == row].astype(np.float64)
    return bool(later.size < 2 or min(later.min(), within[-2:].mean()) < within[:2].mean() - 0.1 * jump)


def _until_next(loss: Floats, jump: float) -> Floats:
    """Return ``loss`` up to where it jumps by half as much again: that is a stage of its own."""
    ends = np.flatnonzero(np.diff(loss) > jump / 2)
    part = loss[: int(ends[0]) + 1] if ends.size else loss
    return part[np.isfinite(part)]
