"""How a threshold is declared: a number with its unit, its reason and what values make sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from diagnostics.engine.refusals import InvalidSetting, is_finite_number


def limit(default: float, unit: str, reason: str, *, low: float = 0.0, high: float = math.inf) -> Any:
    """Declare one threshold. ``low`` and ``high`` are the ends of what makes sense, both allowed."""
    return field(default=default, metadata={"unit": unit, "reason": reason, "low": low, "high": high})


def share(default: float, reason: str, *, high: float = 1.0) -> Any:
    return limit(default, "share", reason, high=high)


def count(default: int, unit: str, reason: str, *, low: int = 1) -> Any:
    return limit(default, unit, reason, low=low)


def validate(name: str, value: Any, meta: Mapping[str, Any], whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidSetting(f"{name} must be a number, not {value!r}", name)
    if not is_finite_number(value):
        raise InvalidSetting(f"{name} must be finite, not {value!r}", name)
    if whole and value != int(value):
        raise InvalidSetting(f"{name} must be a whole number of {meta['unit']}, not {value!r}", name)
    if not meta["low"] <= value <= meta["high"]:
        raise InvalidSetting(f"{name} must be {span(meta)}, not {value!r}", name)


def span(meta: Mapping[str, Any]) -> str:
    """Return which values make sense, from a threshold's metadata."""
    if math.isinf(meta["high"]):
        return f"{meta['low']:g} or more"
    return f"between {meta['low']:g} and {meta['high']:g}"
