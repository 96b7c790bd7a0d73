"""Tells observers when they find themselves in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What can fall silent."""

    def _forked(self) -> None: ...


living: weakref.WeakSet[Forkable] = weakref.WeakSet()
"""Observers that are open in this process."""


def _after_fork() -> None:
    for each in list(living):
        each._forked()
    living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
