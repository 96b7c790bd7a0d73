"""How a setting is refused: with a sentence, and with the place where it stands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self


class InvalidSetting(ValueError):
    """A setting that cannot be used. ``path`` leads to it from the outermost object: names of keys, places in lists."""

    def __init__(self, sentence: str, *path: str | int) -> None:
        super().__init__(sentence)
        self.path = path

    def within(self, *outer: str | int) -> Self:
        """Return the same refusal as seen from further outside."""
        return type(self)(str(self), *outer, *self.path)

    @property
    def place(self) -> str:
        """The path with dots, as TOML and people write it.

        >>> InvalidSetting("no", "disable", 0).place
        'disable[0]'
        """
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")


def is_finite_number(value: object) -> bool:
    """Return whether ``value`` is a number that a float holds. True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def alike(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` with the closest of ``known``, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def refuse_unknown(keys: Iterable[object], known: Iterable[str], kind: str) -> None:
    """Raise InvalidSetting for the first of ``keys`` that is not ``known``, naming all of them."""
    names = list(known)
    unknown = sorted(str(key) for key in keys if key not in names)
    if unknown:
        hint = next((found for key in unknown if (found := alike(key, names))), "")
        raise InvalidSetting(f"unknown {kind}: {', '.join(unknown)}{hint}", unknown[0])
