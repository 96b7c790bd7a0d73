"""Takes the steps of any thread and keeps the window that they belong to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from observer_client.guard import harmless
from observer_client.window import Window, snapshot, told

COLLECT_AT = 256
Step = tuple[float, Any, Any, Any, Any, Any]
_WHOLE = frozenset((int, type(None)))


class StepBook:
    """All steps since the last flush. Thread-safe.

    A step is appended to ``fresh``: that needs no lock and touches little of the processor's cache, which the
    training needs. Whoever makes it as long as ``due`` sees to it that it is collected in time.
    """

    def __init__(self, limit: int) -> None:
        self.fresh: list[Step] = []
        """Steps as (clock, loss, batch size, gradient norm, learning rate, clipped), values as snapshots; in those that
        are not read yet, batch size and rate are as they came."""
        self.due = 0
        """How long ``fresh`` may become before somebody looks at it."""
        self.late = 0.0
        """Clock when the last work of our own between two steps was over."""
        self._clips: deque[tuple[int, Any, Any]] = deque(maxlen=COLLECT_AT)
        self._limit = limit
        self._window = Window(0, limit)
        self._read = 0
        """How many of the fresh steps are read."""
        self._rate: float | None = None
        # Reentrant: a signal handler that ends the run may interrupt a step.
        self.lock = threading.RLock()

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
        with self.lock:
            self._collect()

    def read(self) -> None:
        """Bring batch sizes and rates of the fresh steps to numbers."""
        with self.lock:
            start = self._read
            rows = self.fresh[start:]
            if not rows:
                return
            times, losses, batch_sizes, norms, rates, clipped = zip(*rows, strict=True)
            if not _WHOLE.issuperset(map(type, batch_sizes)):
                batch_sizes = tuple([told("batch_size", size) for size in batch_sizes])
            found = zip(times, losses, batch_sizes, norms, self._changes(rates), clipped, strict=True)
            # An interruption that ends the run may have taken them meanwhile.
            if len(self.fresh) >= start + len(rows) and self.fresh[start] is rows[0]:
                self.fresh[start : start + len(rows)] = found
                self._read = start + len(rows)

    def _changes(self, rates: Sequence[Any]) -> Sequence[float | None]:
        """Return each of ``rates`` that is another one than before, else None."""
        found: list[float | None] = [None] * len(rates)
        for place, rate in enumerate(rates):
            # A rate in a tensor may live on a device: it is read when the window closes, where waiting is allowed.
            if rate is not self._rate and type(rate) is float:
                self._rate = found[place] = rate
        return found

    def note_norm(self, norm: Any) -> None:
        """Say what the gradient norm of the last step was, unless that was told."""
        now, loss, batch_size, own, rate, clipped = self.fresh[-1]
        self.fresh[-1] = (now, loss, batch_size, norm if own is None else own, rate, clipped)

    def note_rate(self, rate: Any) -> None:
        """Say what the learning rate of the last step was."""
        now, loss, batch_size, norm, _, clipped = self.fresh[-1]
        self.fresh[-1] = (now, loss, batch_size, norm, rate, clipped)

    def _collect(self) -> None:
        self.read()
        fresh = self.fresh
        count = len(fresh)
        if not count:
            return
        rows = fresh[:count]
        if self._clips:
            rows = self._with_clips(rows)
        times, losses, batch_sizes, norms, rates, clipped = zip(*rows, strict=True)
        # An interruption that ends the run may have taken them meanwhile; from here on nothing is lost or taken twice
        # but in the blink of an eye.
        if len(fresh) >= count and fresh[count - 1][0] == times[-1]:
            del fresh[:count]
            self._read = self.due = 0
            self._window.extend(times, losses, batch_sizes, norms, rates)
            for each in clipped:
                if each is not None:
                    self._note_clipping(each)

    @harmless
    def _note_clipping(self, clipped: Any) -> None:
        self._window.note_clipping(clipped)

    def _with_clips(self, rows: list[Step]) -> list[Step]:
        """Return ``rows`` with what `clip` told of them, where `Observer.step` said nothing else."""
        found = []
        for number, row in enumerate(rows, self._window.first + len(self._window)):
            now, loss, batch_size, norm, rate, clipped = row
            if self._clips and self._clips[0][0] <= number:
                _, told, was_clipped = self._clips.popleft()
                norm = told if norm is None else norm
                clipped = was_clipped if clipped is None else clipped
            found.append((now, loss, batch_size, norm, rate, clipped))
        return found

    def clip(self, norm: Any, clipped: Any) -> None:
        """Note the gradient norm of the step that is under way, and whether it was clipped; the last call counts."""
        number = self.total
        while self._clips and self._clips[-1][0] >= number:
            self._clips.pop()
        self._clips.append((number, snapshot(norm), clipped if clipped.device.type != "cpu" else bool(clipped)))

    def begin(self) -> None:
        """Say that a step begins now: for the first one of a run nothing else tells."""
        with self.lock:
            self._collect()
            self._window.begin(perf_counter())

    def skip(self, seconds: float) -> None:
        """Leave that time out: it was ours, not the training's."""
        with self.lock:
            self._collect()
            self._window.skipped += seconds

    def turn(self, now: float) -> Window:
        """Return the window that ends at clock ``now`` and start the next."""
        with self.lock:
            self._collect()
            window = self._window
            self._window = Window(window.first + len(window), self._limit, started=now)
            self._rate = None
        return window

    def forget_locks(self) -> None:
        """Make the lock anew in a forked child, where its holder does not exist."""
        self.lock = threading.RLock()
