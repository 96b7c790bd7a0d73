"""What an anomaly model sees of an epoch: figures without a scale, so that runs of any task can be compared.

Each figure compares an epoch with what came before it in the same run, or two figures of the epoch with each other.
Nothing looks ahead: what is said of an epoch while the run goes on stays true when it has ended.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from diagnostics.engine.anomaly_figures import ACCURACY, FEATURES, NAMES, TRAIN, VAL, WARM_UP
from diagnostics.engine.curves import Bools, Floats
from diagnostics.engine.run import Run

SHORT_EPOCH_SECONDS = 1.0
"""Shorter epochs measure the scheduler of the machine; their speed says nothing about the training."""


def features(run: Run) -> Floats:
    """Return the figures of every epoch, epochs x `FEATURES`, compressed by arcsinh; NaN where they are not known."""
    table = np.full((len(run), len(FEATURES)), np.nan)
    if len(run) <= WARM_UP:
        return table
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # A layer that was never seen has no largest change, which NumPy warns of.
        warnings.simplefilter("ignore", RuntimeWarning)
        for name, values in _figures(run):
            table[:, NAMES.index(name)] = np.arcsinh(values)
    table[~np.isfinite(table)] = np.nan
    table[:WARM_UP] = np.nan
    return table


def _figures(run: Run) -> Iterator[tuple[str, Floats]]:
    yield from _of_loss(run)
    yield from _of_validation(run)
    yield from _of_gradients(run)
    yield from _of_machine(run)
    yield from _of_layers(run)


def _of_loss(run: Run) -> Iterator[tuple[str, Floats]]:
    column = run.column(TRAIN)
    if not column:
        return
    change, level, _ = _movement(column.values)
    yield "loss_change", change
    yield "loss_level", level
    known = np.where(np.isfinite(column.values), column.values, np.nan)
    best, worst = np.fmin.accumulate(known), np.fmax.accumulate(known)
    yield "loss_progress", (worst - best) / (worst - best + np.abs(best))
    mean, spread = column.values, run.column("loss.train_std").values
    yield "loss_spread", np.log(spread) - _mean_before(np.log(spread))
    yield "loss_peak", (run.column("loss.train_max").values - mean) / spread
    share = run.column("loss.non_finite").values / run.column("loss.n_batches").values
    yield "loss_non_finite", np.where(column.seen & ~np.isfinite(mean), 1.0, np.nan_to_num(share))


def _of_validation(run: Run) -> Iterator[tuple[str, Floats]]:
    loss, accuracy = run.column(VAL), run.column(ACCURACY)
    if loss:
        change, level, _ = _movement(loss.values)
        _, _, span = _movement(run.column(TRAIN).values)
        gap = (loss.values - run.column(TRAIN).values) / span
        yield "val_change", change
        yield "val_level", level
        yield "val_gap", gap - _mean_before(gap)
    if accuracy:
        yield "accuracy_drop", np.fmax.accumulate(accuracy.values) - accuracy.values


def _of_gradients(run: Run) -> Iterator[tuple[str, Floats]]:
    norm = run.column("gradients.norm_mean")
    if not norm:
        return
    level = np.log(norm.values)
    yield "gradient_change", level - _mean_before(level)
    yield "gradient_peak", np.log(run.column("gradients.norm_max").values) - level
    step = level + np.log(run.column("learning_rate").values)
    yield "gradient_step", step - _mean_before(step)


def _of_machine(run: Run) -> Iterator[tuple[str, Floats]]:
    speed, memory = run.column("throughput.samples_per_second"), run.column("memory.process_rss_mb").values
    seconds = run.column("duration_seconds").values
    if np.any(seconds >= SHORT_EPOCH_SECONDS):
        level = np.where(seconds >= SHORT_EPOCH_SECONDS, np.log(speed.values), np.nan)
        yield "speed", level - _mean_before(level)
    yield "memory", 100 * _change(memory) / memory


def _of_layers(run: Run) -> Iterator[tuple[str, Floats]]:
    if not run.layers:
        return
    for feature, name, scale in _LAYERS:
        matrix = run.layer_matrix(name)
        if matrix:
            yield feature, _largest(np.abs(scale(matrix.values.astype(np.float64))))
    norms = run.layer_matrix("gradient_norm_mean").values.astype(np.float64)
    level = np.log10(np.where(norms > 0, norms, np.nan))
    yield "layer_contrast", np.fmax.reduce(level, axis=1) - np.fmin.reduce(level, axis=1)


def _log_change(values: Floats) -> Floats:
    return _change(np.log(np.where(values > 0, values, np.nan)))


def _change(values: Floats) -> Floats:
    """Return each row less the one before it; the first is NaN."""
    return np.concatenate((np.full_like(values[:1], np.nan), np.diff(values, axis=0)))


_LAYERS: tuple[tuple[str, str, Callable[[Floats], Floats]], ...] = (
    ("layer_gradients", "gradient_norm_mean", _log_change),
    ("layer_updates", "update_ratio", lambda values: values),
    ("layer_weights", "weight_norm", _log_change),
    ("layer_zeros", "activation_zero_share", _change),
    ("layer_saturation", "activation_saturation", _change),
    ("layer_variance", "activation_variance", _log_change),
    ("layer_dead", "activation_dead_units", lambda values: values),
)


def _largest(values: Floats) -> Floats:
    found: Floats = np.fmax.reduce(values, axis=1)
    return found


def _movement(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the change of each value, its height above the lowest before it, both in units of the range before it,
    and that range. A range has no sign and no unit: losses below zero are compared like all others."""
    known = np.where(np.isfinite(values), values, np.nan)
    low, span = _shifted(np.fmin.accumulate(known)), _shifted(np.fmax.accumulate(known) - np.fmin.accumulate(known))
    span = np.where(span > 0, span, np.nan)
    return _change(known) / span, (known - low) / span, span


def _mean_before(values: Floats) -> Floats:
    """Return the mean of all finite values before each."""
    known: Bools = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    return _shifted(total / np.cumsum(known))


def _shifted(values: Floats) -> Floats:
    return np.concatenate(([np.nan], values[:-1]))
