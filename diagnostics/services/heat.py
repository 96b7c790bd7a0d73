"""The health of all layers over the epochs, as a map of shades: the layers that need a look come first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from diagnostics.engine import Run
from diagnostics.engine.curves import Bools, Floats, Ints

COLUMNS = 120
"""Epochs side by side; a longer run has several in each, of which the worst is shown."""
SHADES = 9
BROKEN, UNSEEN = "broken", ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A statistic of layers. ``worst`` says which values are bad: "high", "low", or "far" from the other layers'."""

    key: str
    title: str
    worst: str
    is_logarithmic: bool = True


METRICS = {
    each.key: each
    for each in (
        Metric("gradient_norm_mean", "Gradient norm", "far"),
        Metric("update_ratio", "Update ratio", "far"),
        Metric("weight_sparsity", "Sparsity", "high", is_logarithmic=False),
        Metric("activation_variance", "Activation variance", "low"),
        Metric("activation_dead_units", "Dead units", "high", is_logarithmic=False),
        Metric("activation_saturation", "Saturation", "high", is_logarithmic=False),
        Metric("weight_norm", "Weight norm", "far"),
        Metric("output_change", "Output change", "low"),
    )
}


@dataclass(frozen=True, slots=True)
class Strip:
    """One layer: a shade (a digit, `BROKEN` or `UNSEEN`) and a value for each column, and its figures."""

    layer: str
    shades: list[str]
    values: list[float | None]
    first: float | None
    last: float | None
    lowest: float | None
    highest: float | None
    broken_from: int | None
    """The epoch of the first NaN or infinity."""


@dataclass(frozen=True, slots=True)
class Heat:
    """``epochs`` holds the first epoch of each column, ``last_epoch`` the run's last, ``scale`` the value at which each
    shade but the first begins."""

    metric: Metric
    metrics: list[Metric]
    epochs: list[int]
    last_epoch: int
    strips: list[Strip]
    scale: list[float]
    layer_count: int
    found_count: int

    @property
    def shades(self) -> range:
        return range(SHADES)


def heat(
    run: Run, metric: str = "", *, text: str = "", part: slice = slice(None), suspects: Collection[str] = frozenset()
) -> Heat | None:
    """Return a part of the layers whose name contains ``text``, worst first: suspects (layers with an issue), then NaN,
    then by value. None if no statistic of a layer was logged; a metric that was not gives the first that was."""
    metrics = [each for key, each in METRICS.items() if run.layer_matrix(key)]
    if not metrics:
        return None
    chosen = next((each for each in metrics if each.key == metric), metrics[0])
    matrix = run.layer_matrix(chosen.key)
    values, seen = matrix.values.astype(np.float64), matrix.seen
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.log10(np.maximum(values, 1e-45)) if chosen.is_logarithmic else values
    levels = np.where(seen & np.isfinite(values), levels, np.nan)
    broken = seen & ~np.isfinite(values)
    order = _worst_first(levels, broken, chosen.worst, np.array([layer in suspects for layer in matrix.layers]))
    wanted = [at for at in order.tolist() if text.lower() in matrix.layers[at].lower() and seen[:, at].any()]
    edges = _edges(levels, chosen)
    starts = np.arange(0, len(run), max(1, -(-len(run) // COLUMNS)))
    strips = [
        _strip(matrix.layers[at], run.epochs, starts, _Cell(values[:, at], levels[:, at], broken[:, at]), edges, chosen)
        for at in wanted[part]
    ]
    return Heat(
        metric=chosen,
        metrics=metrics,
        epochs=run.epochs[starts].tolist(),
        last_epoch=int(run.epochs[-1]),
        strips=strips,
        scale=(10**edges if chosen.is_logarithmic else edges).tolist(),
        layer_count=len(matrix.layers),
        found_count=len(wanted),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one layer logged: values, their place on the scale (NaN where nothing finite is), and what is not finite."""

    values: Floats
    levels: Floats
    broken: Bools


def _worst_first(levels: Floats, broken: Bools, worst: str, is_suspect: Bools) -> Ints:
    # The second half: where a run has come to counts more than how it began.
    late = levels[levels.shape[0] // 2 :]
    seen = np.isfinite(late)
    typical = np.divide(np.where(seen, late, 0).sum(0), seen.sum(0), out=np.zeros(levels.shape[1]), where=seen.any(0))
    if worst == "far":
        middle = np.median(typical[seen.any(0)]) if seen.any() else 0.0
        badness = np.abs(typical - middle)
    else:
        badness = typical if worst == "high" else -typical
    badness = np.where(seen.any(0), badness, -np.inf)
    order: Ints = np.lexsort((-badness, ~broken.any(0), ~is_suspect))
    return order


def _edges(levels: Floats, metric: Metric) -> Floats:
    """Return where one shade ends and the next begins: over what most cells hold, so that one outlier dims nothing."""
    if not metric.is_logarithmic:
        return np.linspace(0, 1, SHADES + 1)[1:-1]
    finite = levels[np.isfinite(levels)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) / 2, 0.5)
    return np.linspace(middle - half, middle + half, SHADES + 1)[1:-1]


def _strip(layer: str, epochs: Ints, starts: Ints, cell: _Cell, edges: Floats, metric: Metric) -> Strip:
    finite = np.flatnonzero(np.isfinite(cell.levels))
    levels, shown = _worst_of_each(cell, starts, edges, metric)
    broken = np.logical_or.reduceat(cell.broken, starts)
    shades = [
        BROKEN if is_broken else UNSEEN if np.isnan(level) else str(int(np.searchsorted(edges, level, "right")))
        for level, is_broken in zip(levels.tolist(), broken.tolist(), strict=True)
    ]
    return Strip(
        layer=layer,
        shades=shades,
        values=[None if np.isnan(value) else value for value in shown.tolist()],
        first=float(cell.values[finite[0]]) if finite.size else None,
        last=float(cell.values[finite[-1]]) if finite.size else None,
        lowest=float(cell.values[finite].min()) if finite.size else None,
        highest=float(cell.values[finite].max()) if finite.size else None,
        broken_from=int(epochs[cell.broken.argmax()]) if cell.broken.any() else None,
    )


def _worst_of_each(cell: _Cell, starts: Ints, edges: Floats, metric: Metric) -> tuple[Floats, Floats]:
    """Return the worst level of each column of epochs, and its value."""
    values = np.where(np.isfinite(cell.levels), cell.values, np.nan)
    low, high = np.fmin.reduceat(cell.levels, starts), np.fmax.reduceat(cell.levels, starts)
    middle = edges[len(edges) // 2]
    takes_high = (high - middle > middle - low) if metric.worst == "far" else np.full(low.size, metric.worst == "high")
    least, most = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return np.where(takes_high, high, low), np.where(takes_high, most, least)
