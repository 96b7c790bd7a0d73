"""Hears of signals while the main thread is stuck in a call of C, where no handler of Python can run.

The interpreter writes the number of each signal into a socket at once, whatever its threads are doing. The sending
thread reads it and passes it on.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import suppress

_pair: tuple[socket.socket, socket.socket] | None = None
_tell: Callable[[int], object] | None = None
_lent: tuple[int, int] | None = None
"""Numbers of a pair that stays open: somebody who is told of signals instead of us may put it back, and must not fail
by that."""


def ears() -> socket.socket | None:
    """Return what becomes readable when a signal comes, None where nobody listens."""
    return _pair[0] if _pair is not None else None


def open_ears(tell: Callable[[int], object]) -> None:
    """Have ``tell`` called with the number of each signal, in a thread that waits. For the main thread.

    Where somebody else, an event loop for instance, is told of signals this way, it stays so and nothing is heard.
    """
    global _pair, _tell, _lent
    try:
        pair, _lent = _taken_back(_lent) if _lent else socket.socketpair(), None
    except OSError:
        return
    for each in pair:
        each.setblocking(False)
    # What came while nobody listened is over.
    with suppress(OSError):
        pair[0].recv(65_536)
    before = signal.set_wakeup_fd(pair[1].fileno(), warn_on_full_buffer=False)
    _pair, _tell = pair, tell
    if before not in (-1, pair[1].fileno()):
        signal.set_wakeup_fd(before)
        close_ears()


def _taken_back(lent: tuple[int, int]) -> tuple[socket.socket, socket.socket]:
    return socket.socket(fileno=lent[0]), socket.socket(fileno=lent[1])


def listen() -> None:
    """Pass on the signals that came."""
    # Another thread may have been faster, or close them meanwhile.
    pair, tell, numbers = _pair, _tell, b""
    if pair is None or tell is None:
        return
    with suppress(OSError):
        numbers = pair[0].recv(4096)
    for number in set(numbers):
        tell(number)


def close_ears() -> None:
    """Hear no more. Raises ValueError outside the main thread."""
    global _pair, _tell, _lent
    if _pair is None:
        return
    current = signal.set_wakeup_fd(-1)
    pair, _pair, _tell = _pair, None, None
    if current not in (-1, pair[1].fileno()):
        signal.set_wakeup_fd(current)
        _lent = pair[0].detach(), pair[1].detach()
        return
    for each in pair:
        each.close()
