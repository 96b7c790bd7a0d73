"""Drawings that need no JavaScript: SVG made on the server.

Each tag computes coordinates and leaves the drawing to a template in ``templates/svg``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django import template

from sessions.models import TrainSession

register = template.Library()

WIDTH, HEIGHT = 1000, 100
"""The coordinate space of a stretched drawing; style sheets say how large it is on the page."""

CURVE_BUCKETS = 250
SPARK_MARGIN = 6

Row = tuple[int, float | None, float | None]


@register.inclusion_tag("svg/gauge.html")
def gauge(score: int | None) -> dict[str, Any]:
    """Draw a health score as a dial."""
    return {"score": score}


@register.inclusion_tag("svg/sparkline.html")
def sparkline(sessions: Sequence[TrainSession]) -> dict[str, Any]:
    """Draw the health scores of sessions, oldest first, as a small line."""
    scores = [session.health_score for session in sessions if session.health_score is not None]
    points = [(x, f"{30 - 0.26 * score:.1f}") for x, score in zip(_spread(len(scores), 120), scores, strict=True)]
    return {"scores": scores, "points": points, "last": scores[-1] if scores else None}


@register.inclusion_tag("svg/trend.html")
def trend(sessions: Sequence[TrainSession]) -> dict[str, Any]:
    """Draw the health of sessions, oldest first, over the bands of the score; each dot leads to its session."""
    places = _spread(len(sessions), WIDTH)
    dots = [
        {"x": x, "y": str(HEIGHT - (session.health_score or 0)), "session": session}
        for x, session in zip(places, sessions, strict=True)
    ]
    return {"dots": dots, "sessions": sessions}


def _spread(number: int, width: int) -> list[str]:
    """Places for ``number`` marks from left to right; a single one stands in the middle.

    As text: a template would write a float in the manner of the reader's language, which takes longer, too.
    """
    if number == 1:
        return [str(width // 2)]
    inner = width - 2 * SPARK_MARGIN
    return [f"{SPARK_MARGIN + inner * index / (number - 1):.1f}" for index in range(number)]


@register.inclusion_tag("svg/curve.html")
def curve(steps: Sequence[Row]) -> dict[str, Any]:
    """Draw the training and validation loss over the epochs; ``steps`` are (epoch, train, val) in order.

    Thinned to the smallest and largest value of each bucket, so that a peak never gets lost. A gap in a line is
    an epoch without a finite value.
    """
    values = [value for _, *losses in steps for value in losses if _is_finite(value)]
    if not values:
        return {"is_empty": True}
    first, last = steps[0][0], steps[-1][0]
    low, high = min(values), max(values)
    lines = [
        {"name": name, "path": _path(_thinned([(row[0], row[place]) for row in steps]), (first, last), (low, high))}
        for place, name in ((1, "train"), (2, "val"))
        if any(_is_finite(row[place]) for row in steps)
    ]
    return {"lines": lines, "first": first, "last": last, "low": low, "high": high}


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _thinned(points: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    """Keep the first gap, the smallest and the largest value of each bucket."""
    size = math.ceil(len(points) / CURVE_BUCKETS)
    if size <= 2:
        return points
    kept: list[tuple[int, float | None]] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        finite = [point for point in bucket if _is_finite(point[1])]
        gap = [point for point in bucket if not _is_finite(point[1])][:1]
        ends = {min(finite, key=_value), max(finite, key=_value)} if finite else set()
        kept.extend(sorted([*gap, *ends], key=lambda point: point[0]))
    return kept


def _value(point: tuple[int, float | None]) -> float:
    return point[1] if point[1] is not None else math.nan


def _path(points: list[tuple[int, float | None]], epochs: tuple[int, int], losses: tuple[float, float]) -> str:
    """Return the ``d`` of an SVG path. A single point becomes a dot: a line of no length with round ends."""
    commands: list[str] = []
    is_down = False
    for epoch, value in points:
        if not _is_finite(value):
            is_down = False
            continue
        x, y = WIDTH * _share(epoch, *epochs), HEIGHT * (1 - _share(value, *losses))
        commands.append(f"{'L' if is_down else 'M'}{x:.1f} {y:.2f}" + ("" if is_down else "h0"))
        is_down = True
    return "".join(commands)


def _share(value: float | None, low: float, high: float) -> float:
    # Halved, so that the distance of the two largest floats does not overflow.
    span = high / 2 - low / 2
    return (value / 2 - low / 2) / span if span and value is not None else 0.5
