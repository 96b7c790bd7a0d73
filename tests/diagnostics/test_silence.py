"""A run that is not heard of gets diagnosed for it, once, and is taken back when it speaks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from diagnostics import services
from diagnostics.models import DiagnosticRun, FoundIssue
from observer_client.record import Ending
from sessions.models import TrainSession
from sessions.services import finish, heartbeat


@pytest.fixture
def lost(session):
    session.expect_next_in, session.last_seen = 15.0, now() - timedelta(hours=1)
    session.save()
    return session


def diagnosed():
    for run in DiagnosticRun.objects.filter(state="queued"):
        services.work(run.pk)
    return set(FoundIssue.objects.values_list("check_id", flat=True))


def test_the_sweep_finds_a_lost_run_once(lost):
    services.sweep()
    assert diagnosed() == {"run-went-silent"}
    services.sweep()
    assert not DiagnosticRun.objects.filter(state="queued").exists()


def test_the_sweep_leaves_a_living_run_alone(session):
    services.sweep()
    assert diagnosed() == set()


def test_a_run_that_speaks_again_is_cleared(lost):
    services.sweep()
    diagnosed()
    heartbeat(TrainSession.objects.get(pk=lost.pk), expect_next_in=15.0)
    assert diagnosed() == set()


def test_a_crash_is_found(session):
    finish(session, Ending(status="crashed", reason="ValueError: no such label"))
    assert diagnosed() == {"crash"}
