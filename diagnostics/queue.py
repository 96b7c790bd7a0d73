"""The queue of record: rows of `DiagnosticRun`. Celery is only the doorbell that saves a worker from looking.

Every step is one conditional UPDATE whose count says who won, so that it holds on PostgreSQL and SQLite alike:
``queued`` -> `claim` -> ``running`` -> `finish` or `fail`. A claim is a lease; `expire` takes back what its holder
let run out. `finish` and `fail` write only for the holder of the claim.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from functools import cache, partial
from time import monotonic
from typing import Any
from uuid import uuid4

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.timezone import now
from kombu import pools
from kombu.exceptions import OperationalError

from diagnostics.models import DiagnosticRun, State, Trigger
from sessions.models import SessionStatus, TrainSession

logger = logging.getLogger(__name__)

RING_TASK = "diagnostics.tasks.ring"
LEARN_TASK = "diagnostics.tasks.learn"
REST_AFTER_FAILURE = timedelta(minutes=1)
"""A live check that failed is not tried again by every batch of a run that goes on."""
RINGS_PER_SWEEP = 200
BROKER_PAUSE = 30.0
"""Seconds without a ring after the broker failed. A broker that is down must not slow ingest."""
INTERRUPTED = "The diagnosis was interrupted {attempts} times: its worker died, or it took longer than {lease:g} s."


def order(session: TrainSession, **fields: Any) -> DiagnosticRun:
    """Queue one requested diagnosis and ring for it when the transaction is committed."""
    run = DiagnosticRun.objects.create(session=session, trigger=Trigger.REQUESTED, **fields)
    _ring_on_commit(run.pk)
    return run


@transaction.atomic(savepoint=False)
def mark_due(session: TrainSession) -> None:
    """Ask for a diagnosis of the session's news by its automatic run.

    However many news arrive while a diagnosis waits or runs, at most one more follows. The row stays locked until
    the caller's transaction ends, so whoever claims it sees the news.
    """
    automatic = DiagnosticRun.objects.filter(session=session, trigger=Trigger.AUTOMATIC)
    locked = automatic.select_for_update(no_key=True).only("due", "state", "finished")
    run = locked.first()
    if run is None:
        # Another request may make it at the same moment: the constraint decides, both go on with the same row.
        DiagnosticRun.objects.bulk_create(
            [DiagnosticRun(session=session, trigger=Trigger.AUTOMATIC, due=0)], ignore_conflicts=True
        )
        run = locked.get()
    if run.due and (run.state in (State.QUEUED, State.RUNNING) or _resting(run, session)):
        automatic.update(due=F("due") + 1)
        return
    automatic.update(due=F("due") + 1, state=State.QUEUED, queued=now(), attempts=0)
    _ring_on_commit(run.pk)


def _resting(run: DiagnosticRun, session: TrainSession) -> bool:
    if run.state != State.FAILED or session.status != SessionStatus.RUNNING:
        return False
    return run.finished is not None and run.finished > now() - REST_AFTER_FAILURE


def claim(run_id: int) -> DiagnosticRun | None:
    """Take a queued run, or return None when somebody else did. The attempt is counted before the work starts."""
    token, moment = uuid4(), now()
    taken = DiagnosticRun.objects.filter(pk=run_id, state=State.QUEUED).update(
        state=State.RUNNING,
        claim=token,
        lease_until=moment + timedelta(seconds=settings.MLDIAG_LEASE_SECONDS),
        attempts=F("attempts") + 1,
        started=moment,
        seen=F("due"),
    )
    if not taken:
        return None
    return DiagnosticRun.objects.select_related("session__project").filter(pk=run_id, claim=token).first()


@transaction.atomic(savepoint=False)
def finish(run: DiagnosticRun, **answer: Any) -> bool:
    """Close a claimed run with its answer. Returns False, and writes nothing, when the claim was lost meanwhile.

    When news arrived since the claim, the run keeps the answer and is queued once more.
    """
    if not _close(run, state=State.DONE, error="", **answer):
        return False
    _queue_if_overtaken(run)
    return True


@transaction.atomic(savepoint=False)
def fail(run: DiagnosticRun, error: str) -> bool:
    """Close a claimed run without an answer. What an earlier diagnosis found stays. False as for `finish`.

    When a session ended meanwhile, the whole of it gets its own try; one that goes on rests (`REST_AFTER_FAILURE`).
    """
    if not _close(run, state=State.FAILED, error=error):
        return False
    if not TrainSession.objects.running().filter(pk=run.session_id).exists():
        _queue_if_overtaken(run)
    return True


def _queue_if_overtaken(run: DiagnosticRun) -> None:
    overtaken = DiagnosticRun.objects.filter(pk=run.pk, due__gt=F("seen"))
    if overtaken.update(state=State.QUEUED, queued=now(), attempts=0):
        _ring_on_commit(run.pk)


def _close(run: DiagnosticRun, **fields: Any) -> bool:
    held = DiagnosticRun.objects.filter(pk=run.pk, state=State.RUNNING, claim=run.claim)
    return bool(held.update(claim=None, lease_until=None, finished=now(), **fields))


def expire() -> int:
    """Queue again what was claimed and not finished in time; returns how many runs that were."""
    return _take_back(DiagnosticRun.objects.filter(state=State.RUNNING, lease_until__lt=now()))


def resume() -> int:
    """Queue again whatever was claimed. Only for a server that is the sole worker of its database and just started."""
    return _take_back(DiagnosticRun.objects.filter(state=State.RUNNING))


def _take_back(lost: QuerySet[DiagnosticRun]) -> int:
    error = INTERRUPTED.format(attempts=settings.MLDIAG_MAX_ATTEMPTS, lease=settings.MLDIAG_LEASE_SECONDS)
    free: dict[str, Any] = {"claim": None, "lease_until": None}
    # First, so that a run that brings down its worker does not get another turn.
    lost.filter(attempts__gte=settings.MLDIAG_MAX_ATTEMPTS).update(
        state=State.FAILED, finished=now(), error=error, **free
    )
    # ``queued`` stays: the run has waited since then, and the next sweep rings for it at once.
    return lost.update(state=State.QUEUED, **free)


def waiting(longer_than: float = 0.0) -> list[int]:
    """Return the runs that have been queued for so many seconds, oldest first, at most `RINGS_PER_SWEEP`."""
    since = now() - timedelta(seconds=longer_than)
    queued = DiagnosticRun.objects.filter(state=State.QUEUED, queued__lte=since).order_by("queued", "pk")
    return list(queued.values_list("pk", flat=True)[:RINGS_PER_SWEEP])


def _ring_on_commit(run_id: int) -> None:
    # A worker must not look before the row is there; robust, since the data are stored even if no bell rings.
    transaction.on_commit(partial(ring, run_id), robust=True)


class Breaker:
    """Remembers for a while that the broker failed, for all threads."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._lock = threading.Lock()
        self._silent_until = 0.0

    def is_open(self) -> bool:
        return monotonic() < self._silent_until

    def trip(self) -> None:
        with self._lock:
            self._silent_until = monotonic() + self._pause

    def reset(self) -> None:
        with self._lock:
            self._silent_until = 0.0


breaker = Breaker(BROKER_PAUSE)


def ring(run_id: int, *, expires: float | None = None) -> bool:
    """Tell the workers about a queued run. Returns False if the broker cannot be reached: the sweeper finds it."""
    return tell(RING_TASK, run_id, expires=expires)


def tell(task: str, number: int, *, expires: float | None = None) -> bool:
    """Hand a task to the workers. Returns False if the broker cannot be reached."""
    if breaker.is_open():
        return False
    try:
        with _producers().acquire(block=True) as producer:
            current_app.tasks[task].apply_async((number,), producer=producer, retry=False, expires=expires)
    except (OperationalError, OSError) as error:
        breaker.trip()
        logger.warning("No ring for %g s, the broker does not answer: %s", BROKER_PAUSE, error)
        return False
    return True


@cache
def _producers() -> Any:
    """Connections of our own: a web request cannot wait as long for the broker as a worker can."""
    connection = current_app.connection_for_write()
    options = {**connection.transport_options, "socket_connect_timeout": 0.5, "socket_timeout": 1.0, "max_retries": 0}
    return pools.producers[connection.clone(transport_options=options)]
