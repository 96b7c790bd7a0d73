"""What an anomaly model sees of an epoch: figures without a scale, so that runs of any task can be compared.

Each figure compares an epoch with what came before it in the same run, or two figures of the epoch with each other.
Nothing looks ahead: what is said of an epoch while the run goes on stays true when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from diagnostics.engine.anomaly_figures import ACCURACY, FEATURES, NAMES, TRAIN, VAL, WARM_UP
from diagnostics.engine.curves import Bools, Floats
from diagnostics.engine.logged import Matrix
from diagnostics.engine.run import Run

SHORT_EPOCH_SECONDS = 1.0
"""Shorter epochs measure the scheduler of the machine; their speed says nothing about the training."""


_PLACES = {name: place for place, name in enumerate(NAMES)}


def features(run: Run) -> Floats:
    """Return the figures of every epoch, epochs x `FEATURES`, compressed by arcsinh; NaN where they are not known."""
    table: Floats = np.full((len(run), len(FEATURES)), np.nan)
    if len(run) <= WARM_UP:
        return table
    with np.errstate(all="ignore"):
        for name, values in _figures(run):
            table[:, _PLACES[name]] = values
        np.arcsinh(table, out=table)
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
    change, level, span, best = _movement(column.values)
    yield "loss_change", change
    yield "loss_level", level
    yield "loss_progress", span / (span + np.abs(best))
    mean, spread = column.values, run.column("loss.train_std").values
    logarithm = np.log(spread)
    yield "loss_spread", logarithm - _mean_before(logarithm)
    yield "loss_peak", (run.column("loss.train_max").values - mean) / spread
    share = run.column("loss.non_finite").values / run.column("loss.n_batches").values
    yield "loss_non_finite", np.where(column.seen & ~np.isfinite(mean), 1.0, np.nan_to_num(share))


def _of_validation(run: Run) -> Iterator[tuple[str, Floats]]:
    loss, accuracy = run.column(VAL), run.column(ACCURACY)
    if loss:
        change, level, _, _ = _movement(loss.values)
        train = run.column(TRAIN).values
        span = _shifted(_span(train)[0])
        gap = (loss.values - train) / np.where(span > 0, span, np.nan)
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
    for name, matrix in _logged(run, _BY_RATIO):
        logarithms = _logarithms(matrix)
        yield name, _largest(_size_of_change(logarithms))
        if name == "layer_gradients":
            lowest = np.fmin.reduce(logarithms, axis=1)
            yield "layer_contrast", (_largest(logarithms) - lowest) / np.log(10)
    for name, matrix in _logged(run, _BY_DIFFERENCE):
        yield name, _largest(_size_of_change(matrix.values.astype(np.float64)))
    for name, matrix in _logged(run, _BY_LEVEL):
        yield name, _largest(np.abs(matrix.values.astype(np.float64)))


_BY_RATIO = {
    "gradient_norm_mean": "layer_gradients",
    "weight_norm": "layer_weights",
    "activation_variance": "layer_variance",
}
_BY_DIFFERENCE = {"activation_zero_share": "layer_zeros", "activation_saturation": "layer_saturation"}
_BY_LEVEL = {"update_ratio": "layer_updates", "activation_dead_units": "layer_dead"}
# Statistics of layers by how two epochs of them are compared, with the figures made of them.


def _logged(run: Run, chosen: Mapping[str, str]) -> Iterator[tuple[str, Matrix]]:
    """Yield the figures whose statistics were logged, with these."""
    return ((figure, run.layer_matrix(name)) for name, figure in chosen.items() if name in run.cells.fields)


def _logarithms(matrix: Matrix) -> Floats:
    """Return the logarithm of what is above zero, epochs x layers; NaN elsewhere."""
    values = matrix.values.astype(np.float64)
    if not matrix.lowest > 0:
        values[~(values > 0)] = np.nan
    return np.log(values, out=values)


def _largest(values: Floats) -> Floats:
    return np.asarray(np.fmax.reduce(values, axis=1))


def _change(values: Floats) -> Floats:
    """Return each row less the one before it; the first is NaN."""
    change = np.empty_like(values)
    change[:1] = np.nan
    np.subtract(values[1:], values[:-1], out=change[1:])
    return change


def _size_of_change(values: Floats) -> Floats:
    change = _change(values)
    return np.abs(change, out=change)


def _movement(values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the change of each value and its height above the lowest before it, both in units of the range before it;
    and the range and the lowest value so far. A range has no sign and no unit: losses below zero are compared like all
    others."""
    span, low, known = _span(values)
    before = _shifted(span)
    before = np.where(before > 0, before, np.nan)
    return _change(known) / before, (known - _shifted(low)) / before, span, low


def _span(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the range and the lowest value so far, and the values, NaN where they are not finite."""
    known = np.where(np.isfinite(values), values, np.nan)
    low = np.fmin.accumulate(known)
    return np.fmax.accumulate(known) - low, low, known


def _mean_before(values: Floats) -> Floats:
    """Return the mean of all finite values before each."""
    known: Bools = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    return _shifted(total / np.cumsum(known))


def _shifted(values: Floats) -> Floats:
    shifted = np.empty_like(values)
    shifted[:1] = np.nan
    shifted[1:] = values[:-1]
    return shifted
