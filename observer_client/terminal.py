"""The few lines that a run says to its user, where they disturb neither a progress bar nor a notebook."""

from __future__ import annotations

import sys

from observer_client.guard import harmless


def is_notebook() -> bool:
    """Say whether a person looks at this process through a notebook."""
    return "ipykernel" in sys.modules


@harmless
def say(text: str) -> None:
    """Write a line to the standard error stream, to the cell's output in a notebook, above bars of tqdm."""
    stream = sys.stdout if is_notebook() else sys.stderr
    if stream is None:
        return
    # A bar that nobody imported is nowhere on the screen.
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if bars is not None:
        bars.write(text, file=stream)
    else:
        stream.write(f"{text}\n")
    stream.flush()
