"""Who asks for a diagnosis and how it gets made: once, whatever dies on the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from diagnostics import queue
from diagnostics.models import DiagnosticRun, State
from diagnostics.services.anomaly import ask_to_learn
from diagnostics.services.judging import announce, judge, policy_of, store
from projects.services.documents import clean
from projects.services.waiting import patience
from sessions.models import Liveness, TrainSession
from sessions.services import note_silence

logger = logging.getLogger(__name__)

FINAL = (State.DONE, State.FAILED)
FIRST_LOOK, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at a run that somebody waits for: short at first, since most diagnoses are."""
PATIENCE = 60.0
ERROR_LENGTH = 2_000
SILENT_PER_SWEEP = 200


def request_diagnosis(session: TrainSession, **asked: Any) -> DiagnosticRun:
    """Order a diagnosis. ``asked`` are settings as `Policy.from_mapping` reads them; what is not given is the
    project's own on the day it is made. A worker makes it soon (`wait_for`)."""
    profile = asked.get("profile") or session.project.profile
    return queue.order(session, profile=profile, thresholds=asked.get("thresholds") or {}, asked=asked)


def mark_due(session: TrainSession) -> None:
    """Ask for an automatic diagnosis of what is new. Cheap: at most one waits at any time, however often asked for."""
    queue.mark_due(session)


def diagnose_now(session: TrainSession) -> DiagnosticRun:
    """Order a diagnosis and make it here, unless a worker is faster."""
    run = request_diagnosis(session)
    work(run.pk)
    return wait_for(run, PATIENCE)


def wait_for(run: DiagnosticRun, seconds: float) -> DiagnosticRun:
    """Return the run as it stands when it is final, or after ``seconds``."""
    with patience(seconds) as granted:
        deadline, pause = monotonic() + granted, FIRST_LOOK
        while True:
            run.refresh_from_db()
            left = deadline - monotonic()
            if run.state in FINAL or left <= 0:
                return run
            if not connection.in_atomic_block:
                # Whoever waits must not keep a connection from those who bring the answer: the pool has few. One
                # that may be kept is cheaper kept.
                connection.close_if_unusable_or_obsolete()
            sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)


def work(run_id: int) -> bool:
    """Make a queued diagnosis. Returns False when there was nothing to do: done already, or claimed by another.

    A diagnosis that raises is failed with the error as its text and not tried again. When the database goes away,
    or the process, the lease runs out and the sweeper gives the run to somebody else.
    """
    run = queue.claim(run_id)
    if run is None:
        return False
    try:
        policy = policy_of(run)
        verdict = judge(run.session, policy)
        announce(run, verdict, policy)
        if store(run, verdict, policy):
            ask_to_learn(run.session)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        # An order must get an answer, whatever a check stumbled over; trying again would end the same way.
        logger.exception("Diagnosis %s of session %s failed", run.pk, run.session_id)
        queue.fail(run, clean(f"{type(error).__name__}: {error}", ERROR_LENGTH))
    return True


def sweep() -> int:
    """Find what got lost: take back expired leases and ring for what waits too long. Returns how many it rang for."""
    if expired := queue.expire():
        logger.warning("%s diagnoses were interrupted", expired)
    _report_silence()
    return _ring(queue.waiting(longer_than=settings.MLDIAG_SWEEP_SECONDS))


def _report_silence() -> None:
    """Have sessions diagnosed that should have been heard of: nothing that arrives would ask for it."""
    for session in TrainSession.objects.silent().order_by("-last_seen")[:SILENT_PER_SWEEP]:
        if session.state == Liveness.LOST:
            with transaction.atomic():
                if note_silence(session):
                    queue.mark_due(session)


def resume() -> int:
    """Take up what an earlier life of this server left behind. Only for the sole worker of a database."""
    queue.resume()
    return _ring(queue.waiting())


def _ring(run_ids: Sequence[int]) -> int:
    # The next sweep rings again: what nobody heard by then may be dropped.
    expires = max(1.0, 2 * settings.MLDIAG_SWEEP_SECONDS)
    rung = 0
    for run_id in run_ids:
        if not queue.ring(run_id, expires=expires):
            break
        rung += 1
    return rung
