"""What wakes the sending thread: a record to send, or a signal that came while the main thread is stuck."""

from __future__ import annotations

import os
import select
import socket
import weakref
from collections.abc import Sequence
from contextlib import suppress

from observer_client import wakeup

_bells: weakref.WeakSet[Bell] = weakref.WeakSet()


class Bell:
    """A pair of sockets: a lock or an Event would deadlock when a signal handler rings in the middle of a ring.

    Raises OSError when the process has no file left to open.
    """

    def __init__(self) -> None:
        self._out, self._in = socket.socketpair()
        for each in (self._out, self._in):
            each.setblocking(False)
        self._rung = False
        _bells.add(self)

    def ring(self) -> None:
        """Wake whoever waits, or waits next."""
        if not self._rung:
            self._rung = True
            # It was closed meanwhile, or is full of rings that nobody heard yet.
            with suppress(OSError):
                self._in.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long. What signals the process gets meanwhile is told to `wakeup`."""
        ears = wakeup.ears()
        ready = _readable([each for each in (self._out, ears) if each is not None], seconds)
        if ears in ready:
            wakeup.listen()
        if self._out in ready:
            # First forgotten, then heard: a ring in between is one too many, never one too few.
            self._rung = False
            with suppress(OSError):
                self._out.recv(4096)

    def close(self) -> None:
        """Let go of the sockets. Later rings are for nobody."""
        self._in.close()
        self._out.close()


def _readable(sockets: Sequence[socket.socket], seconds: float) -> list[socket.socket]:
    # Closed by another thread, a socket has no number; closed a moment later, the system says so.
    by_number = {number: each for each in sockets if (number := each.fileno()) >= 0}
    if not hasattr(select, "poll"):
        return [by_number[number] for number in select.select(list(by_number), [], [], seconds)[0]]
    # Not `select`: it knows the first thousand files of a process only.
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(seconds * 1000)]


def _forked() -> None:
    for each in list(_bells):
        each.close()
    _bells.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
