"""What a request for curves may ask."""

from __future__ import annotations

import math

from django.http import HttpRequest, JsonResponse

FEWEST_POINTS, USUAL_POINTS, MOST_POINTS = 20, 1_000, 5_000
_BOUNDS = (("points", str(USUAL_POINTS)), ("low", "-inf"), ("high", "inf"))


class NotNumbers(ValueError):
    """The text is a sentence for the caller."""


def asked_part(request: HttpRequest) -> tuple[int, float, float]:
    """Return about how many points a curve may have, and the bounds of ``x``. Raises NotNumbers."""
    try:
        points, low, high = (float(request.GET.get(*each)) for each in _BOUNDS)
    except ValueError:
        raise NotNumbers("points, low and high are numbers.")
    if any(map(math.isnan, (points, low, high))):
        raise NotNumbers("points, low and high are numbers.")
    return int(min(max(points, FEWEST_POINTS), MOST_POINTS)), low, high


def refused(sentence: str) -> JsonResponse:
    return JsonResponse({"detail": sentence}, status=400)
