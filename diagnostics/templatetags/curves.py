"""Drawings of what was logged that need no JavaScript: curves, evidence, strips of shades, as SVG made on the server.

Each tag computes coordinates and leaves the drawing to a template in ``templates/svg``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django import template

from diagnostics.services import Drawing, Plot, Strip

register = template.Library()

WIDTH, HEIGHT = 1000, 100
"""The coordinate space of a stretched drawing; style sheets say how large it is on the page."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a drawing spans. Values are logarithms where ``is_logarithmic``."""

    first: float
    last: float
    low: float
    high: float
    is_logarithmic: bool

    def x(self, place: float) -> float:
        return WIDTH * _share(place, self.first, self.last)

    def y(self, value: float) -> float:
        return HEIGHT * (1 - _share(self._level(value), self._level(self.low), self._level(self.high)))

    def _level(self, value: float) -> float:
        return math.log10(value) if self.is_logarithmic else value

    def holds(self, value: float | None) -> bool:
        return value is not None and math.isfinite(value) and (value > 0 or not self.is_logarithmic)


def _share(value: float, low: float, high: float) -> float:
    # Halved, so that the distance of the two largest floats does not overflow.
    span = high / 2 - low / 2
    return (value / 2 - low / 2) / span if span else 0.5


@register.inclusion_tag("svg/curve.html")
def curve(plot: Plot | None, markers: Iterable[Any] = (), is_logarithmic: bool = False) -> dict[str, Any]:
    """Draw a chart with the epochs of issues marked. A gap in a line is an epoch without a finite value.

    Where nothing is positive a logarithmic scale is not to be had, and it is drawn on the ordinary one.
    """
    frame = _frame(plot, [], is_logarithmic) or _frame(plot, [], False)
    if plot is None or frame is None:
        return {"is_empty": True, "plot": plot}
    return _picture(plot, frame) | {"markers": list(_marked(plot, frame, markers))}


@register.inclusion_tag("svg/small.html")
def small_curve(plot: Plot) -> dict[str, Any]:
    """Draw a chart as small as one of many: its curves, and the last value of each in words."""
    frame = _frame(plot, [], False)
    return _picture(plot, frame) if frame else {"is_empty": True, "plot": plot}


@register.inclusion_tag("svg/evidence.html")
def evidence(drawing: Drawing) -> dict[str, Any]:
    """Draw what an issue rests on: the series, dots where it fired, the level of its limit."""
    levels = [] if drawing.level is None else [drawing.level]
    frame = _frame(drawing.plot, levels, drawing.is_logarithmic)
    if frame is None:
        return {"is_empty": True, "plot": drawing.plot}
    x, values = drawing.plot.x, drawing.plot.columns[0][1]
    hits = [(float(x[at]), float(values[at])) for at in drawing.marks.tolist()]
    return _picture(drawing.plot, frame) | {
        "level": f"{frame.y(drawing.level):.2f}" if levels and drawing.level is not None else None,
        "limit": drawing.level,
        # Where the number itself was NaN, its mark is at the upper edge.
        "dots": [(f"{frame.x(at):.1f}", f"{frame.y(value) if frame.holds(value) else 0:.2f}") for at, value in hits],
    }


@register.inclusion_tag("svg/carbon.html")
def carbon(plot: Plot, footprint: dict[str, Any]) -> dict[str, Any]:
    """Draw the cumulative emissions; the part after the epoch at which training could have stopped is wasted."""
    frame = _frame(plot, [0.0], False)
    if frame is None or frame.first == frame.last:
        return {"is_empty": True, "plot": plot}
    stop = footprint.get("optimal_stop_epoch") if footprint.get("wasted_epochs") else None
    is_known = isinstance(stop, (int, float)) and frame.first <= stop <= frame.last
    return _picture(plot, frame) | {
        "stop": f"{frame.x(stop):.1f}" if is_known else None,
        "rest": f"{WIDTH - frame.x(stop):.1f}" if is_known else None,
        "footprint": footprint,
    }


@register.inclusion_tag("svg/strip.html")
def strip(row: Strip, epochs: Sequence[int]) -> dict[str, Any]:
    """Draw one layer's epochs as shades: one path a shade, a stroke for each run of equal cells."""
    strokes: dict[str, list[str]] = {}
    place = 0
    for shade, cells in groupby(row.shades):
        length = sum(1 for _ in cells)
        if shade:
            strokes.setdefault(shade, []).append(f"M{place} .5h{length}")
        place += length
    values = " ".join("" if value is None else f"{value:.3g}" for value in row.values)
    return {"row": row, "width": place, "paths": [(shade, "".join(parts)) for shade, parts in strokes.items()]} | {
        "values": values.replace(" ", ","),
        "from": epochs[0] if epochs else None,
    }


def _frame(plot: Plot | None, levels: Sequence[float], is_logarithmic: bool) -> Frame | None:
    """Return what the finite values (the positive ones, on a logarithmic scale) span, or None if there are none."""
    if plot is None:
        return None
    values = [value for _, column in (*plot.columns, *plot.references) for value in column.tolist()] + [*levels]
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not is_logarithmic)]
    if not finite or not plot.x.size:
        return None
    return Frame(float(plot.x[0]), float(plot.x[-1]), min(finite), max(finite), is_logarithmic)


def _picture(plot: Plot, frame: Frame) -> dict[str, Any]:
    lines = []
    for place, (label, column) in enumerate(plot.columns):
        values = column.tolist()
        finite = [value for value in values if frame.holds(value)]
        if finite:
            shown = {"place": place, "label": label, "path": _path(plot, values, frame), "last": finite[-1]}
            lines.append(shown | {"is_broken_last": bool(plot.broken[-1]) and not frame.holds(values[-1])})
    return {
        "plot": plot,
        "lines": lines,
        "references": [(label, _path(plot, values.tolist(), frame)) for label, values in plot.references],
        "first": frame.first,
        "last": frame.last,
        "low": frame.low,
        "high": frame.high,
        "is_logarithmic": frame.is_logarithmic,
        "broken": [f"{frame.x(at):.1f}" for at in plot.x[plot.broken].tolist()],
    }


def _marked(plot: Plot, frame: Frame, markers: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for marker in markers:
        # Thinning may have left the epoch out: then the nearest stands for it. The first point of those equally near.
        at = int(abs(plot.epochs - marker.epoch).argmin())
        yield {"marker": marker, "x": f"{frame.x(float(plot.x[at])):.1f}"}


def _path(plot: Plot, values: list[float], frame: Frame) -> str:
    """Return the ``d`` of an SVG path. A single point becomes a dot: a line of no length with round ends.

    Over the steps a value per epoch has nothing between its epochs, which is no gap.
    """
    commands: list[str] = []
    is_down = False
    for at, value, is_broken in zip(plot.x.tolist(), values, plot.broken.tolist(), strict=True):
        if not frame.holds(value):
            is_down = is_down and plot.axis == "step" and not is_broken
            continue
        x, y = frame.x(at), frame.y(value)
        commands.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.2f}" + ("" if is_down else "h0"))
        is_down = True
    return "".join(commands)
