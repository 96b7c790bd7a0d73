"""The terminal: one console for all commands, with colors only where a person reads them."""

from __future__ import annotations

import io
import re
import sys

from rich.console import Console, RenderableType

WIDEST = 100
"""Longer lines are tiring to read."""

_FILL = re.compile(r"[ ]+$", re.MULTILINE)


def console() -> Console:
    """Return a console on standard output. Without a terminal, or with NO_COLOR, it writes plain text, 80 columns."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a sign must not end a report.
        sys.stdout.reconfigure(errors="replace")
    found = Console(markup=False, highlight=False, emoji=False)
    if found.width > WIDEST:
        found.width = WIDEST
    return found


def show(found: Console, content: RenderableType) -> None:
    """Print ``content`` without the blanks that fill its lines up."""
    with found.capture() as captured:
        # What fits is laid out already; code is longer on purpose.
        found.print(content, crop=False)
    sys.stdout.write(_FILL.sub("", captured.get()))
    sys.stdout.flush()
