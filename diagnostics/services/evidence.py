"""What an issue rests on, ready to be drawn: the very series, where it fired, and the limit it crossed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnostics.engine import Run
from diagnostics.engine.curves import Bools, Floats, Ints
from diagnostics.models import FoundIssue
from diagnostics.services.plots import Chart, Plot

POINTS = 240
LINES_DRAWN = 2
MOST_MARKS = 60
LOGARITHMIC_FROM = 300.0
"""Largest over smallest value from which a curve of positive values is drawn on a logarithmic scale."""

LEVELS: Mapping[str, tuple[str | None, Callable[[float, float], float]]] = {
    "loss_explosion_ratio": ("before", lambda before, limit: before * limit),
    "memory_growth_pct": ("first", lambda first, limit: first * (1 + limit)),
    "throughput_drop_pct": ("peak", lambda peak, limit: peak * (1 - limit)),
    "slow_epoch_ratio": ("median", lambda median, limit: median * limit),
    "blow_up_ratio": ("first", lambda first, limit: first * limit),
    "initial_loss_ratio": ("chance", lambda chance, limit: chance * limit),
    "high_cpu_percent": (None, lambda _, limit: limit),
    "negative_loss": (None, lambda _, limit: limit),
    "backward_pct": (None, lambda _, limit: limit),
    "fwd_bwd_ratio": (None, lambda _, limit: limit),
}
"""By the name of a threshold: the figure of the evidence that its limit is relative to, and the level in the units of
the series. Limits of layer statistics are levels as they stand; any other limit is no level of the series drawn."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Curves with the places where an issue fired (indexes into ``plot.x``) and the level of its limit, if it has one
    in the units of the curves."""

    plot: Plot
    marks: Ints
    level: float | None
    is_logarithmic: bool


def draw(run: Run, issue: FoundIssue) -> Drawing | None:
    """Return the drawing of an issue's evidence; None if it rests on no series of this run."""
    names = [name for name in _texts(issue.evidence.get("series")) if name]
    columns = [column for name in names if (column := _column(run, name, issue.layer_id))]
    if not columns:
        return None
    label, x, epochs, values, _ = columns[0]
    alike = [each for each in columns if each[1].size == x.size and _unit(each[0]) == _unit(label)][:LINES_DRAWN]
    broken = np.zeros(x.size, bool)
    for *_, numbers, seen in alike:
        broken |= seen & ~np.isfinite(numbers)
    lines = tuple((each[0].removeprefix("layers."), np.where(np.isfinite(each[3]), each[3], np.nan)) for each in alike)
    chart = Chart("evidence", issue.title, tuple((each[0], each[0]) for each in alike))
    plot = Plot(chart, "step" if label.startswith("steps.") else "epoch", x, epochs, lines, broken).thinned(POINTS)
    level = _level(issue)
    return Drawing(plot, _marks(plot, issue), level, _is_logarithmic(plot, level))


_Column = tuple[str, Floats, Ints, Floats, Bools]
"""A dotted name, places on the axis, the epoch of each, values, and which of them were logged."""


def _column(run: Run, name: str, layer: str) -> _Column | None:
    group, _, own = name.partition(".")
    if group == "steps":
        series, first = run.steps(own), run.steps("first")
        if not series or first.values.size != series.values.size:
            return None
        return name, first.values.astype(np.float64), run.epochs[series.rows], _wide(series.values), series.seen
    axis = run.epochs.astype(np.float64)
    if group == "layers":
        matrix = run.layer_matrix(own)
        if layer not in matrix.layers:
            return None
        at = matrix.layers.index(layer)
        return (name, axis, run.epochs, _wide(matrix.values[:, at]), matrix.seen[:, at]) if matrix else None
    column = run.column(name)
    return (name, axis, run.epochs, column.values, column.seen) if column else None


def _wide(values: Any) -> Floats:
    return np.asarray(values, np.float64)


def _unit(name: str) -> str:
    # Only what is measured alike shares an axis: the losses, or the times of one profile.
    return "loss" if name.startswith(("loss.train", "loss.val.val_loss")) else name.rpartition(".")[0] + name[-3:]


def _level(issue: FoundIssue) -> float | None:
    limit = issue.evidence.get("limit")
    threshold = str(issue.evidence.get("threshold"))
    if not isinstance(limit, (int, float)) or isinstance(limit, bool):
        return None
    if threshold not in LEVELS:
        return float(limit) if issue.metric_key.startswith("layers.") else None
    reference, level = LEVELS[threshold]
    base = issue.evidence.get(reference) if reference else 0.0
    found = level(base, limit) if isinstance(base, (int, float)) else math.nan
    return found if math.isfinite(found) else None


def _marks(plot: Plot, issue: FoundIssue) -> Ints:
    """Return where it fired. Of many places as many as an eye can tell apart."""
    named = issue.evidence.get("epochs")
    epochs = [each for each in named if isinstance(each, int)] if isinstance(named, list) else []
    if not epochs and issue.epoch_index is not None:
        epochs = [issue.epoch_index]
    hit = np.flatnonzero(np.isin(plot.epochs, epochs))
    if plot.axis == "step":
        # A step series has many points an epoch: its highest is what the check saw.
        hit = np.array([_highest(plot, epoch) for epoch in epochs if epoch in plot.epochs], np.int64)
    return hit[:: max(1, math.ceil(hit.size / MOST_MARKS))].astype(np.int64)


def _highest(plot: Plot, epoch: int) -> int:
    rows = np.flatnonzero(plot.epochs == epoch)
    values = np.where(np.isfinite(plot.columns[0][1][rows]), plot.columns[0][1][rows], -np.inf)
    return int(rows[values.argmax()])


def _is_logarithmic(plot: Plot, level: float | None) -> bool:
    values = np.concatenate([values for _, values in plot.columns] + [np.array([] if level is None else [level])])
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() / values.min() > LOGARITHMIC_FROM)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
