"""Curves of a run: which there are, over which axis, thinned to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diagnostics.engine import Run
from diagnostics.engine.curves import Bools, Floats, Ints

AXES = ("epoch", "step", "time")
METRICS_SHOWN = 12
CUMULATIVE_CO2 = "carbon_emissions.cumulative_co2_kg"
SUMMED = {CUMULATIVE_CO2: "carbon_emissions.epoch_co2_kg"}
STEPWISE = {
    "loss.train_mean": "loss_mean",
    "gradients.norm_mean": "grad_norm_mean",
    "gradients.norm_max": "grad_norm_max",
    "learning_rate": "learning_rate",
}
"""Columns of which there is a finer series, by step."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns that are drawn together, as pairs of a dotted name and what a reader calls it."""

    key: str
    title: str
    lines: tuple[tuple[str, str], ...]
    unit: str = ""


_LOSS = Chart("loss", "Loss", (("loss.train_mean", "train loss"), ("loss.val.val_loss", "val loss")))
_REST = (
    Chart("gradients", "Gradient norm", (("gradients.norm_mean", "mean"), ("gradients.norm_max", "largest"))),
    Chart("learning-rate", "Learning rate", (("learning_rate", "learning rate"),)),
    Chart("throughput", "Throughput", (("throughput.samples_per_second", "samples/s"),), "/s"),
    Chart("time", "Seconds", (("duration_seconds", "epoch"), ("throughput.data_wait_seconds", "data wait")), "s"),
    Chart("memory", "Memory", (("memory.process_rss_mb", "process"), ("memory.process_rss_peak_mb", "peak")), "MiB"),
    Chart("gpu-memory", "GPU memory", (("memory.gpu_allocated_mb", "in use"), ("memory.gpu_peak_mb", "peak")), "MiB"),
    Chart("system", "Load", (("system.cpu_percent", "CPU"), ("system.gpu_percent", "GPU")), "%"),
    Chart("power", "Power", (("carbon_emissions.power_draw_watts", "power"),), "W"),
    Chart("carbon", "CO₂, cumulative", ((CUMULATIVE_CO2, "CO₂"),), "kg"),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over one axis. ``x`` ascends; ``epochs`` holds the epoch of each point; ``columns`` are pairs of a label
    and values that are NaN where there is nothing to draw; ``broken`` marks points where NaN or infinity was logged;
    ``references`` are like columns, but nothing that was logged here."""

    chart: Chart
    axis: str
    x: Floats
    epochs: Ints
    columns: tuple[tuple[str, Floats], ...]
    broken: Bools
    references: tuple[tuple[str, Floats], ...] = ()

    def thinned(self, points: int) -> Plot:
        """Return about ``points`` points a curve: of each bucket the smallest and the largest value, so that no peak
        gets lost, and the first that is broken."""
        return self._rows(_kept(self, points))

    def between(self, low: float, high: float) -> Plot:
        """Return the part with ``low <= x <= high``."""
        return self._rows(np.flatnonzero((self.x >= low) & (self.x <= high)))

    def _rows(self, rows: Ints) -> Plot:
        columns, references = (
            tuple((label, values[rows]) for label, values in lines) for lines in (self.columns, self.references)
        )
        return Plot(self.chart, self.axis, self.x[rows], self.epochs[rows], columns, self.broken[rows], references)

    def as_dict(self) -> dict[str, Any]:
        """Return parallel lists, ``null`` where a value is absent or not finite."""
        return {
            "chart": self.chart.key,
            "title": self.chart.title,
            "unit": self.chart.unit,
            "axis": self.axis,
            "x": self.x.tolist(),
            "epoch": self.epochs.tolist(),
            "series": {label: _plain(values) for label, values in self.columns},
            "references": {label: _plain(values) for label, values in self.references},
            "non_finite": self.x[self.broken].tolist(),
        }


def charts(run: Run) -> list[Chart]:
    """Return the charts that this run has anything for; the losses come first."""
    metrics = sorted(name for name in run.names if name.startswith("loss.val.") and name != "loss.val.val_loss")
    own = [Chart(name, name.removeprefix("loss.val."), ((name, name.removeprefix("loss.val.")),)) for name in metrics]
    every = (_LOSS, *own[:METRICS_SHOWN], *_REST)
    return [chart for chart in every if any(SUMMED.get(name, name) in run.names for name, _ in chart.lines)]


def plot(run: Run, chart: Chart, axis: str = "epoch") -> Plot:
    """Return the curves of ``chart``; over the epochs if nothing was logged that tells the steps or the time."""
    ends = _ends(run, axis)
    if ends is None:
        axis, ends = "epoch", run.epochs.astype(np.float64)
    parts = [_points(run, name, label, axis, ends) for name, label in chart.lines]
    parts = [part for part in parts if part[3].any()]
    if axis != "step" or not parts:
        return _plot(chart, axis, ends, run.epochs, parts)
    x = np.unique(np.concatenate([at for _, at, *_ in parts]))
    epochs = run.epochs[np.minimum(np.searchsorted(ends, x), len(run) - 1)]
    return _plot(chart, axis, x, epochs, [_spread(part, x) for part in parts])


_Part = tuple[str, Floats, Floats, Bools]
"""A label, places on the axis, values, and which of them were logged."""


def _points(run: Run, name: str, label: str, axis: str, ends: Floats) -> _Part:
    if axis == "step" and name in STEPWISE and (series := run.steps(STEPWISE[name])):
        first = run.steps("first")
        if first.values.size == series.values.size:
            return label, first.values.astype(np.float64), series.values.astype(np.float64), series.seen
    column = run.column(SUMMED.get(name, name))
    values = np.nancumsum(np.where(np.isfinite(column.values), column.values, 0)) if name in SUMMED else column.values
    return label, ends, values, column.seen


def _spread(part: _Part, x: Floats) -> _Part:
    label, at, values, seen = part
    places = np.searchsorted(x, at)
    wide, wide_seen = np.full(x.size, np.nan), np.zeros(x.size, bool)
    wide[places], wide_seen[places] = values, seen
    return label, x, wide, wide_seen


def _plot(chart: Chart, axis: str, x: Floats, epochs: Ints, parts: Sequence[_Part]) -> Plot:
    broken = np.zeros(x.size, bool)
    for _, _, values, seen in parts:
        broken |= seen & ~np.isfinite(values)
    columns = tuple((label, np.where(np.isfinite(values), values, np.nan)) for label, _, values, _ in parts)
    return Plot(chart, axis, x, epochs, columns, broken)


def _ends(run: Run, axis: str) -> Floats | None:
    """Return where on the axis each epoch ends; None if nothing tells it."""
    if axis == "epoch":
        return run.epochs.astype(np.float64)
    column = run.column("duration_seconds" if axis == "time" else "loss.n_batches")
    lengths = np.where(np.isfinite(column.values), np.maximum(column.values, 0), 0)
    # Two epochs at one place would be one point.
    return np.cumsum(lengths) if len(run) and np.all(lengths > 0) else None


def stretched(part: Plot, x: Floats) -> Floats:
    """Return the first curve of ``part`` with a value wherever ``x`` has a place between two points of its own."""
    values = part.columns[0][1]
    # What was not logged is spanned; what was logged and is not finite interrupts.
    logged = np.isfinite(values) | part.broken
    if not logged.any():
        return np.full(x.size, np.nan)
    spread: Floats = np.interp(x, part.x[logged], values[logged], left=np.nan, right=np.nan)
    return spread


def _kept(plot: Plot, points: int) -> Ints:
    size = math.ceil(2 * plot.x.size / points)
    if size <= 2:
        return np.arange(plot.x.size)
    starts = np.arange(0, plot.x.size, size)
    chosen = [np.array([0, plot.x.size - 1])]
    for _, values in plot.columns:
        for direction in (1.0, -1.0):
            comparable = np.where(np.isfinite(values), direction * values, -np.inf)
            chosen.append(starts + _buckets(comparable, size, -np.inf).argmax(1))
    broken = _buckets(plot.broken, size, False)
    chosen.append((starts + broken.argmax(1))[broken.any(1)])
    rows: Ints = np.unique(np.concatenate(chosen))
    return rows


def _buckets(values: npt.NDArray[Any], size: int, filling: float) -> npt.NDArray[Any]:
    return np.pad(values, (0, -values.size % size), constant_values=filling).reshape(-1, size)


def _plain(values: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
