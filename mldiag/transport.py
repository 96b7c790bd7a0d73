"""``memwake://``: a broker inside the process that wakes its worker at once.

kombu's ``memory://`` looks for messages once per polling interval, which costs either idle CPU or latency. Here
whoever puts a message notifies the worker that waits for it. Messages die with the process: the database is the
queue of record, so losing them only means waiting for the sweeper.
"""

from __future__ import annotations

import threading
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, memory

LONGEST_NAP = 0.25
"""Seconds after which a waiting worker looks at its stop flag."""


class Bell:
    """Counts arrivals. ``wait`` returns early when one came after the given count was read."""

    def __init__(self) -> None:
        self.arrivals = 0
        self._changed = threading.Condition()

    def strike(self) -> None:
        with self._changed:
            self.arrivals += 1
            self._changed.notify_all()

    def wait(self, known: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.arrivals != known, timeout)


bell = Bell()


class Channel(memory.Channel):
    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        bell.strike()

    def _put_fanout(self, exchange: str, message: Any, routing_key: str | None = None, **options: Any) -> None:
        super()._put_fanout(exchange, message, routing_key, **options)
        bell.strike()


class Transport(memory.Transport):
    Channel = Channel

    @property
    def default_connection_params(self) -> dict[str, Any]:
        # There is no host; with the base class's default kombu would warn that none was named.
        return {}

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        """Deliver one message. Raises `socket.timeout` when none came within ``timeout`` or `LONGEST_NAP` seconds."""
        deadline = monotonic() + (LONGEST_NAP if timeout is None else min(timeout, LONGEST_NAP))
        while True:
            # Read before looking: a message that arrives in between must end the wait.
            known = bell.arrivals
            try:
                return self.cycle.get(self._deliver, timeout=timeout)
            except Empty:
                if not bell.wait(known, max(0.0, deadline - monotonic())):
                    raise TimeoutError from None


TRANSPORT_ALIASES["memwake"] = "mldiag.transport:Transport"
