"""Why a rank crashed, for rank 0 to say: the others only see that a connection broke, or a signal."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import time
from typing import Any

from observer_client.logs import crash_line, last_words, log_line
from observer_client.ranks import DropBox
from observer_client.record import LogLine

MOST = 4
"""Ranks whose words are kept: when one goes, all others break off as well."""
_BROKEN_OFF = re.compile(
    r"connection (closed|reset|refused)|broken pipe|gloo|nccl|timed? ?out|distbackend|process ?group|socket",
    re.IGNORECASE,
)


class CrashWord:
    """The last words of ranks, in ``box``."""

    def __init__(self, box: DropBox) -> None:
        self._box = box
        self._found: dict[int, dict[str, Any]] = {}

    def leave(self, rank: int, error: BaseException) -> None:
        """Say what ended this ``rank``, unless it was ended from outside."""
        status, reason = last_words(error)
        if status == "crashed":
            self._box.put_crash(rank, {"at": time(), "reason": reason, "trace": crash_line(error).msg})

    def hear(self, keep: Callable[[LogLine], object]) -> None:
        """Hand what was not heard yet to ``keep``, what came first first."""
        fresh = [(sender, word) for sender, word in self._box.take_crashes() if sender not in self._found]
        for sender, word in sorted(fresh, key=lambda each: _time(each[1])):
            # Two threads may listen at once.
            if self._found.setdefault(sender, word) is word and len(self._found) <= MOST:
                keep(log_line(f"rank {sender} crashed: {word.get('trace')}", "CRITICAL"))

    def cause(self, status: str, reason: str | None) -> tuple[str, str | None]:
        """Return the end of the run: that of the rank which crashed first, if rank 0 only suffered from it."""
        suffered = status == "killed" or status == "crashed" and _BROKEN_OFF.search(reason or "")
        if not self._found or not suffered:
            return status, reason
        first = min(self._found, key=lambda sender: _time(self._found[sender]))
        return "crashed", f"rank {first}: {self._found[first].get('reason')} (rank 0: {reason or status})"


def _time(word: dict[str, Any]) -> float:
    at = word.get("at")
    return at if isinstance(at, float) else float("inf")
