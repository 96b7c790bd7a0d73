"""Takes the steps of any thread and keeps the window that they belong to."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from time import perf_counter
from typing import Any

from observer_client.guard import harmless
from observer_client.window import Window, snapshot

COLLECT_AT = 256


class StepBook:
    """All steps since the last flush. Thread-safe.

    A step is appended to ``fresh``, a deque: that needs no lock and touches little of the processor's cache, which
    the training needs. Whoever makes it longer than `COLLECT_AT` calls `collect`.
    """

    def __init__(self, limit: int) -> None:
        self.fresh: deque[tuple[float, Any, Any, Any, Any, Any]] = deque()
        """Steps as (clock, loss, batch size, gradient norm, learning rate, clipped), values as snapshots."""
        self.late = 0.0
        """Clock when the last work of our own between two steps was over."""
        self._clips: deque[tuple[int, Any, Any]] = deque(maxlen=COLLECT_AT)
        self._limit = limit
        self._window = Window(0, limit)
        # Reentrant: a signal handler that ends the run may interrupt a step.
        self._lock = threading.RLock()

    @property
    def here(self) -> int:
        """How many steps there were since the last flush."""
        return len(self._window) + len(self.fresh)

    @property
    def total(self) -> int:
        """How many steps there were since the start of training."""
        return self._window.first + self.here

    def collect(self) -> None:
        """Bring the fresh steps into the window."""
        with self._lock:
            self._collect()

    def _collect(self) -> None:
        # An interruption may have taken some meanwhile.
        with suppress(IndexError):
            for _ in range(len(self.fresh)):
                self._take(*self.fresh.popleft())

    @harmless
    def _take(self, now: float, loss: Any, batch_size: Any, norm: Any, rate: Any, clipped: Any) -> None:
        if self._clips and self._clips[0][0] <= self._window.first + len(self._window):
            _, told, was_clipped = self._clips.popleft()
            norm = told if norm is None else norm
            clipped = was_clipped if clipped is None else clipped
        self._window.add(now, loss, batch_size, norm, rate)
        if clipped is not None:
            self._window.note_clipping(clipped)

    def clip(self, norm: Any, clipped: Any) -> None:
        """Note the gradient norm of the step that is under way, and whether it was clipped; the last call counts."""
        number = self.total
        while self._clips and self._clips[-1][0] >= number:
            self._clips.pop()
        self._clips.append((number, snapshot(norm), clipped if clipped.device.type != "cpu" else bool(clipped)))

    def begin(self) -> None:
        """Say that a step begins now: for the first one of a run nothing else tells."""
        with self._lock:
            self._collect()
            self._window.begin(perf_counter())

    def skip(self, seconds: float) -> None:
        """Leave that time out: it was ours, not the training's."""
        with self._lock:
            self._collect()
            self._window.skipped += seconds

    def turn(self, now: float) -> Window:
        """Return the window that ends at clock ``now`` and start the next."""
        with self._lock:
            self._collect()
            window = self._window
            self._window = Window(window.first + len(window), self._limit, started=now)
        return window

    def forget_locks(self) -> None:
        """Make the lock anew in a forked child, where its holder does not exist."""
        self._lock = threading.RLock()
