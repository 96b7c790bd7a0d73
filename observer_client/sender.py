"""The one background thread: it sends, beats, and does what the training must not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any

from observer_client.bell import Bell
from observer_client.connection import Connection, Refused, Unavailable
from observer_client.delivery import Delivery
from observer_client.guard import harmless, log
from observer_client.spool import Spool

SHORTEST_WAIT = 0.5
LONGEST_WAIT = 30.0
IDLE = 3600.0

Progress = Callable[[], dict[str, Any]]


@dataclass(slots=True)
class Outcome:
    """What became of a run when its Observer closed. ``pending`` records still lie on disk only."""

    pending: int
    reason: str | None = None
    diagnosis: dict[str, Any] | None = None
    url: str | None = None


class Sender:
    """Delivers a run in the background, and after it older runs that were left behind.

    Without a ``connection`` it only does ``chores`` and asks the disk to keep what was written. ``chores`` run once,
    first thing. The run's ending waits ``diagnosis_seconds`` for the score. ``progress`` says what a heartbeat tells.
    ``older`` yields claimed runs of earlier processes. ``announce`` is told once how the first contact went: the
    run's URL, or why there was none.
    """

    def __init__(
        self,
        spool: Spool,
        connection: Connection | None,
        *,
        heartbeat: float,
        diagnosis_seconds: int,
        chores: Callable[[], None],
        progress: Progress,
        older: Callable[[], Iterator[Spool]],
        announce: Callable[[str | None, str | None], None],
    ) -> None:
        self._spool = spool
        self._connection = connection
        self._delivery = Delivery(spool, connection, diagnosis_seconds) if connection else None
        self._heartbeat = heartbeat
        self._chores = chores
        self._progress = progress
        self._older: Callable[[], Iterator[Spool]] | None = older
        self._announce: Callable[[str | None, str | None], None] | None = announce
        self._bell: Bell | None = None
        self._done = threading.Event()
        self._closing_at: float | None = None
        self._failures = 0
        self._next_try = 0.0
        self._asked_until = 0.0
        self._next_beat = monotonic() + heartbeat
        self._reason: str | None = None
        self._stopped = connection is None
        # The user's random numbers are the user's: a generator of our own.
        self._random = Random()
        self._thread = threading.Thread(target=self._live, name="mldiag", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        try:
            self._bell = Bell()
            self._thread.start()
        except (RuntimeError, OSError) as error:
            if self._bell is not None:
                self._bell.close()
            # No thread to be had, or no file: the records are on disk all the same.
            log.warning("mldiag: cannot send while training (%s); records are kept in %s", error, self._spool.folder)
            self._done.set()
        self.ring()

    def ring(self) -> None:
        """Say that there is something to send."""
        if self._bell is not None:
            self._bell.ring()

    def finish(self, seconds: float) -> Outcome:
        """Deliver the rest, waiting at most ``seconds``; the thread ends soon after."""
        self._closing_at = monotonic() + seconds
        self.ring()
        self._done.wait(seconds)
        diagnosis = self._delivery.diagnosis if self._delivery else None
        return Outcome(self._spool.pending, self._reason, diagnosis, self._spool.address.get("url"))

    def _live(self) -> None:
        assert self._bell is not None
        self._do_chores()
        while not self._done.is_set():
            self._bell.wait(self._pause())
            if self._is_due() and self._turn() is None:
                # A turn that failed was a mistake of ours: not again at once.
                self._failures, self._next_try = self._failures + 1, monotonic() + LONGEST_WAIT
            if self._closing_at is not None and self._is_over(self._closing_at):
                self._done.set()
        self._bell.close()
        if self._connection:
            self._connection.close()

    @harmless
    def _do_chores(self) -> None:
        self._chores()

    def _pause(self) -> float:
        """Return how long the thread may sleep unless the bell rings."""
        now = monotonic()
        if self._closing_at is not None:
            return max(0.0, min(self._asked_until or now + SHORTEST_WAIT, self._closing_at) - now)
        if self._stopped:
            return IDLE
        return max(0.0, (self._next_try if self._failures else self._next_beat) - now)

    def _is_due(self) -> bool:
        # The bell must not shorten a wait that spares the server; closing does, unless the server asked for it.
        return monotonic() >= (self._next_try if self._closing_at is None else self._asked_until)

    def _is_over(self, closing_at: float) -> bool:
        never_there = self._failures > 0 and not (self._delivery and self._delivery.opened)
        late = max(monotonic(), self._asked_until) >= closing_at
        return not self._spool.pending or self._stopped or never_there or late

    @harmless
    def _turn(self) -> bool:
        if self._stopped or self._delivery is None:
            self._spool.sync()
            return True
        if self._failures:
            self._spool.sync()
        try:
            self._delivery.run(between=self._contact)
            self._beat(self._delivery)
            if self._older is not None and self._closing_at is None:
                self._deliver_older(self._older)
        except Unavailable as error:
            self._failed(error)
        except Refused as error:
            self._stop(error)
        finally:
            # Last while the server answers: an alert need not wait for the disk.
            self._spool.sync()
        return True

    def _contact(self) -> None:
        if self._announce:
            self._announce(self._spool.address.get("url"), None)
            self._announce = None
        if self._failures:
            log.info("mldiag: the server is back")
        self._failures, self._next_try, self._asked_until, self._reason = 0, 0.0, 0.0, None

    def _beat(self, delivery: Delivery) -> None:
        if monotonic() < self._next_beat or self._closing_at is not None:
            return
        self._next_beat = monotonic() + self._heartbeat
        try:
            delivery.beat({**self._progress(), "expect_next_in": self._heartbeat})
        except Refused as error:
            log.debug("mldiag: heartbeat refused: %s", error)
        else:
            self._contact()

    def _failed(self, error: Unavailable) -> None:
        self._reason = error.reason
        if self._announce:
            self._announce(None, error.reason)
            self._announce = None
        elif not self._failures:
            log.warning("mldiag: %s; training goes on, records are kept in %s", error.reason, self._spool.folder)
        pause = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(self._failures, 10)) * self._random.uniform(0.5, 1.0)
        self._failures += 1
        self._asked_until = monotonic() + error.retry_after if error.retry_after else 0.0
        self._next_try = max(monotonic() + pause, self._asked_until)

    def _stop(self, error: Refused) -> None:
        self._stopped, self._announce, self._reason = True, None, error.reason
        log.warning("mldiag: the server refuses this run: %s. Records are kept in %s", error, self._spool.folder)

    @harmless
    def _deliver_older(self, older: Callable[[], Iterator[Spool]]) -> None:
        assert self._connection is not None
        # What fails below for a reason of its own must not fail again and again: the running run comes first.
        self._older = None
        for spool in older():
            try:
                Delivery(spool, self._connection).run(between=self._give_way)
                log.info("mldiag: delivered the older run in %s", spool.folder)
            except Refused as error:
                log.warning("mldiag: the server refuses the older run in %s: %s", spool.folder, error)
            except Unavailable as error:
                self._older = older
                self._failed(error)
                return
            except _OwnRunFirst:
                self._older = older
                return
            finally:
                spool.close()

    def _give_way(self) -> None:
        if self._spool.pending or self._closing_at is not None:
            raise _OwnRunFirst


class _OwnRunFirst(Exception):
    """An older run waits while the running one has something to send."""
