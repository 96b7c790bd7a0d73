"""Python source from values that nobody vouches for: names quoted, numbers rounded."""

from __future__ import annotations

import keyword
import math
from textwrap import wrap

LONGEST_NAME = 200
WIDTH = 88


def lines(*each: str) -> str:
    """Join lines of source; long comments are broken."""
    return "\n".join(part for line in each for part in _broken(line))


def _broken(line: str) -> list[str]:
    if not line.startswith("# ") or len(line) <= WIDTH or "\n" in line:
        return [line]
    return wrap(line, WIDTH, subsequent_indent="# ", break_long_words=False)


def quoted(text: str) -> str:
    """Return ``text`` as a string literal on one line, ASCII or printable, in double quotes where that is possible.

    >>> print(quoted("layer1.0"), quoted('a"b'), quoted("a\\nb"))
    "layer1.0" 'a"b' "a\\nb"
    """
    literal = repr(text)
    return literal if '"' in text or "'" in text else f'"{literal[1:-1]}"'


def module(name: str) -> str | None:
    """Return an expression for the submodule ``name`` of ``model``, None for a name that is none.

    >>> module("encoder.fc1"), module("layer1.0.conv2")
    ('model.encoder.fc1', 'model.get_submodule("layer1.0.conv2")')
    """
    if not name or name == "(model)":
        # The model itself, where it has parameters of its own.
        return "model"
    if len(name) > LONGEST_NAME:
        return None
    if all(_is_plain(part) for part in name.split(".")):
        return f"model.{name}"
    return f"model.get_submodule({quoted(name)})"


def replaced(name: str, by: str) -> str | None:
    """Return a statement that puts ``by`` in the place of the submodule ``name``; None for the model itself."""
    parent, _, own = name.rpartition(".")
    place = module(parent)
    if not own or name == "(model)" or place is None or len(own) > LONGEST_NAME:
        return None
    return f"{place}.{own} = {by}" if _is_plain(own) else f"setattr({place}, {quoted(own)}, {by})"


def _is_plain(part: str) -> bool:
    # Python reads some letters of other alphabets as if they were Latin ones, and knows what has two underscores.
    return part.isascii() and part.isidentifier() and not keyword.iskeyword(part) and not part.startswith("__")


def figure(value: float) -> str:
    """Return a number to two digits as Python writes it.

    >>> figure(0.000312), figure(2.0), figure(123.4)
    ('0.00031', '2.0', '120.0')
    """
    return repr(float(f"{value:.2g}"))


def usable(value: float | None) -> bool:
    """Return whether ``value`` is a positive number that a snippet can speak of."""
    return value is not None and math.isfinite(value) and 1e-30 < value < 1e30
