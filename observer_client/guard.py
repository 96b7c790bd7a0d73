"""The one guard between mldiag and the training it observes.

An error of ours must never reach, stop or flood somebody's training: `harmless` swallows it and says it once per
place. An error of the user's own code never runs inside the guard, so it is never swallowed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("mldiag")

_said: set[tuple[str, str]] = set()


def say_once(place: str, error: Exception) -> None:
    """Log ``error`` unless this place already logged one of its kind."""
    key = place, type(error).__name__
    if key not in _said:
        _said.add(key)
        # Logging runs code of the training: its filters and handlers, an error's own text, a closed stream.
        with suppress(Exception):
            log.warning("mldiag: %s failed, training goes on: %s: %s", place, type(error).__name__, error)
            log.debug("mldiag: where %s failed", place, exc_info=error)


reporter: Callable[[str, Exception], None] = say_once
"""What `harmless` does with an error. The client's own tests replace it by one that raises."""


def report(place: str, error: Exception) -> None:
    """Do with an error that was caught elsewhere what `harmless` does."""
    reporter(place, error)


def harmless(function: Callable[P, T]) -> Callable[P, T | None]:
    """Let ``function`` return None instead of raising. KeyboardInterrupt and SystemExit still pass."""
    place = function.__qualname__

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            reporter(place, error)
            return None

    return guarded
