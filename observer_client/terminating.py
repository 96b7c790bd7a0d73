"""Lets observers say their last word when the process is told to end: by a scheduler, a container, or a user.

Only signals that end the process by default are watched, and only in the main thread. A handler of the training's own
is called as ever, and it decides whether the process ends. Where the main thread is stuck in a call of C, handlers of
Python never run, while the signal alone would have ended the process: then another thread does it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from contextlib import suppress
from time import monotonic, sleep
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from observer_client import wakeup
from observer_client.guard import harmless

if TYPE_CHECKING:
    from observer_client.recording import Recording

PATIENCE = 3.0
"""Seconds for the delivery: schedulers kill ten to thirty seconds after they asked."""
NAMES = ("SIGTERM", "SIGHUP")
GRACE = 1.0
"""Seconds after which the main thread is taken to be stuck: it did not begin to handle the signal."""


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
_insisted: set[int] = set()
_handled: set[int] = set()
"""Signals by which the process is about to end: heard of in another thread, and handled in whichever came first."""


def join(each: Endable) -> None:
    """Tell ``each`` of signals from now on."""
    _living.add(each)
    if _before or threading.current_thread() is not threading.main_thread():
        return
    wakeup.open_ears(_heard)
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
    wakeup.close_ears()


def _heard(number: int) -> None:
    """Take note, in another thread, of a signal that the main thread is to handle."""
    if number in _before and _ends(number) and number not in _insisted:
        _insisted.add(number)
        # The process may end any time, and must not wait for this. At its very end no thread can be had.
        with suppress(RuntimeError):
            threading.Thread(target=_insist, args=(number,), name="mldiag-end", daemon=True).start()


def _ends(number: int) -> bool:
    """Say whether the process ends by a signal when nothing but ours handles it."""
    return not callable(_before.get(number)) and signal.getsignal(number) is _act


def _insist(number: int) -> None:
    """End the process if the main thread does not."""
    if not _is_stuck(number) and number not in _handled:
        # A child that was forked a moment ago got it, and still had our ears.
        _insisted.discard(number)
        return
    patience = 1 + PATIENCE * len(_living)
    if number in _handled:
        sleep(patience)
    else:
        _handled.add(number)
        # It reads from devices, and one of them may be what hangs.
        helper = threading.Thread(target=_end_all, args=(number,), name="mldiag-killed", daemon=True)
        helper.start()
        helper.join(patience)
    _end_process(number)


def _is_stuck(number: int) -> bool:
    """Say whether the main thread stays where it is for `GRACE`, and does not begin to handle the signal."""
    main, place = threading.main_thread().ident, None
    until = monotonic() + GRACE
    while monotonic() < until:
        frame = sys._current_frames().get(main or 0)
        now = (id(frame), frame.f_lasti) if frame is not None else None
        if number in _handled or place is not None and now != place:
            return False
        place = now
        sleep(GRACE / 20)
    return True


def _end_all(number: int) -> None:
    name = signal.Signals(number).name
    if threading.current_thread() is not threading.main_thread():
        name += ", while the main thread was stuck in a call"
    for each in list(_living):
        killed(each, name)


def _end_process(number: int) -> None:
    """End as without us, so that whoever waits for the process sees the signal."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, signal.SIG_DFL)
    else:
        import ctypes

        # Python lets no other thread do this, and the one that may is stuck.
        ctypes.pythonapi.PyOS_setsig(ctypes.c_int(number), ctypes.c_void_p(None))
    os.kill(os.getpid(), number)


def _act(number: int, frame: FrameType | None) -> None:
    if not _ends(number):
        for each in list(_living):
            warned(each, signal.Signals(number).name)
        if callable(before := _before.get(number)):
            before(number, frame)
    elif number not in _handled:
        _handled.add(number)
        _end_all(number)
        _end_process(number)


_masks = threading.local()


def _before_fork() -> None:
    # Until the child has its own handlers back a signal must wait: Python drops what comes in between, and what
    # should end the child would never.
    ending = {number for number, handler in _before.items() if not callable(handler)}
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, ending) if ending else None


def _after_fork() -> None:
    before, _masks.before = getattr(_masks, "before", None), None
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forked() -> None:
    _living.clear()
    _insisted.clear()
    _handled.clear()
    with suppress(ValueError):
        _restore()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forked)
