"""How many requests may wait for an answer that somebody else works out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

MOST_WAITING = 96
"""Of the requests that one process answers at once (`mldiag.handler.MOST_THREADS`): the others are for who sends."""
_places = BoundedSemaphore(MOST_WAITING)


@contextmanager
def patience(seconds: float) -> Iterator[float]:
    """Give for how long the request may wait: ``seconds``, or not at all while as many wait as may."""
    has_place = seconds > 0 and _places.acquire(blocking=False)
    try:
        yield seconds if has_place else 0.0
    finally:
        if has_place:
            _places.release()
