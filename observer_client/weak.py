"""Callbacks that do not keep their object alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``method``, bound to an object, as a function that does nothing once the object is gone."""
    held = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        living = held()
        return None if living is None else living(*arguments)

    return call
