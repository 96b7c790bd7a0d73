"""What a session logged, as columns that pages draw."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from diagnostics.engine import Run
from sessions.models import TrainSession
from sessions.services import packed_epochs

KEPT_RUNS = 8
LARGEST_KEPT = 24 * 2**20
"""Bytes of columns: larger runs are read anew each time, so that memory stays bounded."""

_kept: OrderedDict[tuple[object, ...], Run] = OrderedDict()
_lock = Lock()


def observed(session: TrainSession) -> Run:
    """Return a session's epochs as columns, without its log and model. At most one query, no JSON.

    The latest few are kept: a page asks for the same run several times, for its charts, layers and evidence.
    Whatever is stored changes ``last_seen``, hence the key.
    """
    key = (session.pk, session.epoch_count, session.last_seen)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    run = Run.from_packed(packed_epochs(session))
    if _size(run) <= LARGEST_KEPT:
        with _lock:
            _kept[key] = run
            while len(_kept) > KEPT_RUNS:
                _kept.popitem(last=False)
    return run


def _size(run: Run) -> int:
    series = sum(table.values.nbytes for parts in run.series.values() for _, table in parts)
    return run.scalars.values.nbytes + run.cells.values.nbytes + series
