"""What the training says: log records, and the exceptions that end it.

Records are taken where they are made (a log record factory), not by a handler: a handler of ours on the root
logger would switch off the user's own ``logging.basicConfig`` and Python's output of last resort.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from types import TracebackType
from typing import Any

from observer_client.guard import harmless
from observer_client.record import LogLine

LONGEST = 8000
BURST = 200
PER_SECOND = 2.0


class LogTap:
    """Hands log records of a level or above to ``keep``, at most `BURST` at once and `PER_SECOND` in the long run.

    Errors have a budget of their own: a flood of warnings must not hide them.
    """

    def __init__(self, level: str, keep: Callable[[LogLine], object]) -> None:
        self._level = logging.getLevelName(level)
        self._keep = keep
        self._budgets = {severe: _Budget() for severe in (True, False)}
        self._inside = threading.local()
        self._previous = logging.getLogRecordFactory()
        self._open = True
        logging.setLogRecordFactory(self._make)

    def _make(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._previous(*args, **kwargs)
        if self._open and record.levelno >= self._level:
            self._take(record)
        return record

    @harmless
    def _take(self, record: logging.LogRecord) -> None:
        # Writing a message out may itself log, and our own words are not the training's.
        if getattr(self._inside, "busy", False) or record.name.split(".")[0] == "mldiag":
            return
        self._inside.busy = True
        try:
            budget = self._budgets[record.levelno >= logging.ERROR]
            if budget.allows():
                if dropped := budget.dropped:
                    budget.dropped = 0
                    self._keep(log_line(f"{dropped} log lines were left out: too many at once", "WARNING", "mldiag"))
                self._keep(_line(record))
        finally:
            self._inside.busy = False

    def close(self) -> None:
        """Stop listening. A factory that somebody put on top of ours stays."""
        self._open, self._keep = False, _nobody
        logging.setLogRecordFactory(_without(self._make, logging.getLogRecordFactory(), "_previous"))


class _Budget:
    """How many lines may still be kept, and how many were ``dropped`` since the last one."""

    def __init__(self) -> None:
        self.dropped = 0
        self._tokens = float(BURST)
        self._refilled = monotonic()

    def allows(self) -> bool:
        """Spend one line, if there is one."""
        now = monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._refilled) * PER_SECOND)
        self._refilled = now
        if self._tokens < 1:
            self.dropped += 1
            return False
        self._tokens -= 1
        return True


def _nobody(news: object) -> None:
    """Take the place of a closed run: what stays in a chain of hooks must not keep the run alive."""


def _line(record: logging.LogRecord) -> LogLine:
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}\n{_traceback(record.exc_info[1])}"
    return log_line(text, record.levelname, record.name)


def log_line(message: str, level: str | int = "INFO", logger: str | None = None) -> LogLine:
    """Return a line of the session's log, stamped now."""
    level = logging.getLevelName(level) if isinstance(level, int) else level.upper()
    severe = logging.getLevelName(level) if level in logging.getLevelNamesMapping() else 0
    return LogLine(
        msg=message if len(message) <= LONGEST else f"{message[: LONGEST // 2]}\n[...]\n{message[-LONGEST // 2 :]}",
        ts=datetime.now(UTC).isoformat(),
        level=level,
        kind="error" if severe >= logging.ERROR else "console",
        logger=logger,
    )


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def last_words(error: BaseException) -> tuple[str, str | None]:
    """Return the status and the reason of a run that ``error`` ended.

    >>> last_words(ValueError("no such label")), last_words(KeyboardInterrupt()), last_words(SystemExit(0))
    (('crashed', 'ValueError: no such label'), ('killed', 'KeyboardInterrupt'), ('finished', None))
    """
    if isinstance(error, SystemExit):
        good = error.code in (None, 0)
        return ("finished", None) if good else ("crashed", f"SystemExit: {error.code}")
    reason = "".join(traceback.format_exception_only(error)).strip()[:1000]
    return "killed" if isinstance(error, KeyboardInterrupt) else "crashed", reason


def crash_line(error: BaseException) -> LogLine:
    """Return the traceback of ``error`` as a line of the session's log."""
    return log_line(_traceback(error), "CRITICAL")


class CrashWatch:
    """Tells ``crashed`` which exception ends the interpreter, ``hurt`` which one ends another thread.

    The hooks that were there before are called all the same. ``sys.exit`` is watched too, because an exit code
    is the only trace that it leaves.
    """

    def __init__(self, crashed: Callable[[BaseException], object], hurt: Callable[[BaseException], object]) -> None:
        self._crashed = crashed
        self._hurt = hurt
        self._open = True
        self._main_before = sys.excepthook
        self._thread_before = threading.excepthook
        self._exit_before: Callable[..., Any] = sys.exit
        sys.excepthook = self._main
        threading.excepthook = self._thread
        sys.exit = self._exit

    def _main(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if self._open:
            self._crashed(error)
        self._main_before(kind, error, trace)

    def _thread(self, args: threading.ExceptHookArgs) -> None:
        if self._open and args.exc_value is not None:
            self._hurt(args.exc_value)
        self._thread_before(args)

    def _exit(self, code: Any = None, /) -> Any:
        if self._open and threading.current_thread() is threading.main_thread():
            self._crashed(SystemExit(code))
        self._exit_before(code)

    def close(self) -> None:
        """Put the hooks back that were there before, unless somebody put others on top."""
        self._open, self._crashed, self._hurt = False, _nobody, _nobody
        sys.excepthook = _without(self._main, sys.excepthook, "_main_before")
        threading.excepthook = _without(self._thread, threading.excepthook, "_thread_before")
        sys.exit = _without(self._exit, sys.exit, "_exit_before")


def _without(ours: Any, top: Any, behind: str) -> Any:
    """Return the chain of hooks that begins at ``top`` without ``ours``.

    ``behind`` is the attribute in which a hook of this module keeps the next one. Left in the chain, the hooks of
    runs that overlap would make it longer with every run, until Python refuses to go down so far.
    """
    link, after = None, top
    # Bound methods are made anew at each look: equal, never identical.
    while after != ours:
        link = getattr(after, "__self__", None)
        if not isinstance(link, (LogTap, CrashWatch)):
            return top
        after = getattr(link, behind)
    rest = getattr(ours.__self__, behind)
    if link is None:
        return rest
    setattr(link, behind, rest)
    return top
