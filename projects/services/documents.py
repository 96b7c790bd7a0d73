"""JSON of strangers: read tolerantly, repaired so that no column and no reader chokes on it."""

from __future__ import annotations

import json
from typing import Any

from observer_client.record import spell
from projects.services.refusals import Refused

DEPTH = 100
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# PostgreSQL refuses NUL and surrogates, in text as in JSON.
UNSTORABLE = {0: REPLACEMENT, **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)}
LARGEST_INTEGER = 2**1024
"""Beyond it an integer fits no number type of any reader; its digits are kept as text."""


def loads(body: bytes) -> Any:
    """Return the JSON value of ``body``. Non-finite numbers are spelled, also those that JSON has no word for.

    Raises Refused.
    """
    try:
        return json.loads(body, parse_constant=lambda word: spell(float(word)), parse_float=_spelled)
    except RecursionError:
        raise Refused("The JSON is nested too deeply.")
    except ValueError as error:
        raise Refused(f"The body is not JSON: {error}")


def _spelled(digits: str) -> float | str:
    return spell(float(digits))


def storable(value: Any, depth: int = DEPTH) -> Any:
    """Return a JSON value that any column holds: unstorable characters are replaced, depth is limited.

    Raises Refused.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= LARGEST_INTEGER:
        return str(value)
    if isinstance(value, float):
        return spell(value)
    if isinstance(value, (dict, list)) and depth == 0:
        raise Refused(f"The JSON is nested more than {DEPTH} levels deep.")
    if isinstance(value, dict):
        return {clean(str(key)): storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in value]
    return value


def clean(text: str, length: int | None = None) -> str:
    """Return ``text`` as a database holds it, cut to ``length`` characters."""
    if not text.isascii() or "\0" in text:
        text = text.translate(UNSTORABLE)
    return text if length is None or len(text) <= length else text[: length - 1] + "…"
