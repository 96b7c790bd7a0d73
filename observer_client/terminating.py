"""Lets observers say their last word when the process is told to end: by a scheduler, a container, or a user.

Only signals that end the process by default are watched, and only in the main thread. A handler of the training's own
is called as ever, and it decides whether the process ends.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from observer_client.guard import harmless

if TYPE_CHECKING:
    from observer_client.recording import Recording

PATIENCE = 3.0
"""Seconds for the delivery: schedulers kill ten to thirty seconds after they asked."""
NAMES = ("SIGTERM", "SIGHUP")


class Endable(Protocol):
    """What an `Observer` offers to the functions below, some of which are its methods."""

    _live: bool
    _exit: tuple[str, str | None]
    _recording: Recording | None

    def log(self, message: str, level: str = "INFO") -> None: ...
    def _close(self, status: str, reason: str | None) -> None: ...
    def _end(self, status: str, reason: str | None) -> None: ...
    def _leave(self) -> None: ...


def killed(self: Endable, name: str) -> None:
    """End the run: signal ``name`` ends the process."""
    _hurry(self, PATIENCE)
    self._close("killed", name)


def warned(self: Endable, name: str) -> None:
    """Note signal ``name``: the process may end soon."""
    self._exit = "killed", name
    self.log(f"received {name}", "WARNING")


@harmless
def dropped(self: Endable) -> None:
    """End the run of an Observer that nobody holds any more, so that nobody can close it."""
    if not getattr(self, "_live", False):
        return
    self._end(*self._exit)
    self._live = False
    self._leave()
    if self._recording is None:
        return
    try:
        # Whoever collects garbage must not wait for a server.
        threading.Thread(target=self._recording.finish, name="mldiag-end", daemon=True).start()
    except RuntimeError:
        _hurry(self, 0.0)
        self._recording.finish()


def _hurry(self: Endable, seconds: float) -> None:
    if self._recording is not None:
        self._recording.patience = min(seconds, self._recording.patience)


_living: weakref.WeakSet[Endable] = weakref.WeakSet()
_before: dict[int, Any] = {}
"""By signal: what handled it before."""


def join(each: Endable) -> None:
    """Tell ``each`` of signals from now on."""
    _living.add(each)
    if _before or threading.current_thread() is not threading.main_thread():
        return
    for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
        handler = signal.getsignal(number)
        # None is a handler that was not made in Python: it could not be called.
        if handler is not signal.SIG_IGN and handler is not None:
            _before[number] = handler
            signal.signal(number, _act)


def leave(each: Endable) -> None:
    """Tell ``each`` no more; the last one takes the handlers away."""
    _living.discard(each)
    if not _living and threading.current_thread() is threading.main_thread():
        _restore()


def _restore() -> None:
    for number, handler in _before.items():
        # Somebody may have put a handler on top that calls ours.
        if signal.getsignal(number) is _act:
            signal.signal(number, handler)
    _before.clear()


def _act(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    before = _before.get(number, signal.SIG_DFL)
    if callable(before) or signal.getsignal(number) is not _act:
        for each in list(_living):
            warned(each, name)
        if callable(before):
            before(number, frame)
        return
    for each in list(_living):
        killed(each, name)
    # As it would have ended without us, so that whoever waits for the process sees the signal.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forked() -> None:
    _living.clear()
    with suppress(ValueError):
        _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
