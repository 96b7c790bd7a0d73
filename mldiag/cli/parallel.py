"""Judges several files at once, in processes of their own: ``mldiag check -j``.

Threads would not do: what a diagnosis costs is Python that holds the lock (`benchmarks/parallel.py`).
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from diagnostics.engine import Policy
from mldiag.cli.files import Source
from mldiag.cli.judging import Judged, Unread, outcome_of
from mldiag.cli.recorded import UnreadableRun

AHEAD = 4
"""Files per process that are read before their turn: enough to keep all busy, few enough to hold their reports."""


class Judges:
    """Processes that judge. One that dies takes its file with it, and no other."""

    def __init__(self, policy: Policy, jobs: int) -> None:
        self._policy = policy
        self._jobs = jobs
        self._pool = _pool(jobs)

    def judge_all(self, sources: Iterable[Source | Unread]) -> Iterator[Judged | Unread]:
        """Yield the outcome of each of ``sources``, in their order."""
        waiting: deque[tuple[Source | Unread, Future[Judged | Unread] | None]] = deque()
        try:
            for source in sources:
                waiting.append((source, self._begun(source)))
                if len(waiting) > AHEAD * self._jobs:
                    yield self._ended(*waiting.popleft())
            while waiting:
                yield self._ended(*waiting.popleft())
        finally:
            # After Ctrl-C nobody waits for the rest.
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _begun(self, source: Source | Unread) -> Future[Judged | Unread] | None:
        if isinstance(source, Unread) or source.path is None:
            return None
        try:
            return self._pool.submit(outcome_of, source, self._policy)
        except BrokenProcessPool:
            self._pool = _pool(self._jobs)
            return self._pool.submit(outcome_of, source, self._policy)

    def _ended(self, source: Source | Unread, future: Future[Judged | Unread] | None) -> Judged | Unread:
        if isinstance(source, Unread):
            return source
        if future is None:
            # Standard input belongs to this process.
            return outcome_of(source, self._policy)
        try:
            return future.result()
        except BrokenProcessPool:
            return self._alone(source)

    def _alone(self, source: Source) -> Judged | Unread:
        """Judge a file that was under work when a process died: only the one that kills again is given up."""
        with _pool(1) as alone:
            try:
                return alone.submit(outcome_of, source, self._policy).result()
            except BrokenProcessPool:
                why = "could not be judged: the process that read it was ended, perhaps for want of memory"
                return Unread(source.name, UnreadableRun(why))


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not a plain fork: it would copy locks that other threads hold.
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    if way == "forkserver":
        context.set_forkserver_preload(["mldiag.cli.judging"])
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_at_once_when_interrupted)


def _end_at_once_when_interrupted() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
