"""Drawings of health scores that need no JavaScript: SVG made on the server.

Each tag computes coordinates and leaves the drawing to a template in ``templates/svg``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template

from sessions.models import TrainSession

register = template.Library()

WIDTH, HEIGHT = 1000, 100
"""The coordinate space of a stretched drawing; style sheets say how large it is on the page."""

SPARK_MARGIN = 6


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


@register.inclusion_tag("svg/footprint.html")
def footprint(sessions: Sequence[TrainSession]) -> dict[str, Any]:
    """Draw what sessions emitted, oldest first, as bars; each leads to its session."""
    masses = [session.co2_kg or 0.0 for session in sessions]
    most, wide = max(masses, default=0.0), WIDTH / max(1, len(masses))
    heights = [max(1.0, HEIGHT * mass / most) if most else 1.0 for mass in masses]
    bars = [
        {
            "session": session,
            "x": f"{place * wide + wide / 10:.1f}",
            "y": f"{HEIGHT - height:.1f}",
            "width": f"{0.8 * wide:.1f}",
            "height": f"{height:.1f}",
        }
        for place, (session, height) in enumerate(zip(sessions, heights, strict=True))
    ]
    return {"bars": bars, "total": sum(masses), "most": most}


def _spread(number: int, width: int) -> list[str]:
    """Places for ``number`` marks from left to right; a single one stands in the middle.

    As text: a template would write a float in the manner of the reader's language, which takes longer, too.
    """
    if number == 1:
        return [str(width // 2)]
    inner = width - 2 * SPARK_MARGIN
    return [f"{SPARK_MARGIN + inner * index / (number - 1):.1f}" for index in range(number)]
