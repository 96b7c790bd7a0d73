"""Text out of a run may be anything: a terminal must not obey it, a CI log must not parse it."""

from __future__ import annotations

import re

# Escape sequences are removed as a whole: CSI ("\x1b[31m"), OSC ("\x1b]0;title\x07"), two-byte ones, and C1 forms.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters, and the marks that turn the reading direction or hide between letters.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_BLANKS = re.compile(r"\s+")


def clean(text: object) -> str:
    r"""Return ``text`` without escapes, control characters and direction marks; line breaks stay.

    >>> clean("\x1b[31mred\x1b[0m\a")
    'red'
    """
    lines = _BREAKS.sub("\n", str(text)).expandtabs(4)
    return _INVISIBLE.sub("", _ESCAPES.sub("", lines))


def one_line(text: object, limit: int = 200) -> str:
    """Return ``text`` cleaned, on one line, cut to ``limit`` characters."""
    line = _BLANKS.sub(" ", clean(text)).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
