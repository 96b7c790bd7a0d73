"""Sessions that are deleted while they are trained and judged, with real transactions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from diagnostics.problem_models import Occurrence
from sessions.models import TrainSession
from sessions.services import delete_sessions, store_epochs
from tests.conftest import epoch_record
from tests.diagnostics.triage import tell, the_problem

pytestmark = pytest.mark.django_db(transaction=True)
LONGEST_WAIT = 30


def until_somebody_waits():
    """Wait until a transaction waits for another. SQLite does not tell: there the second one cannot even begin."""
    deadline = time.monotonic() + LONGEST_WAIT
    with connection.cursor() as cursor:
        while connection.vendor == "postgresql" and time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)


def deleting(session):
    try:
        return delete_sessions(session.project, [session.pk])
    finally:
        connection.close()


@pytest.fixture
def deleted_during():
    """``deleted_during(session, first, then)``: somebody deletes it in the middle of a transaction."""

    def run(session, first, then):
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                first()
                deletion = pool.submit(deleting, session)
                until_somebody_waits()
                then()
            return deletion.result()

    return run


def test_one_that_sends_an_epoch(session, deleted_during):
    line = json.dumps(epoch_record(4)).encode()
    assert deleted_during(session, lambda: store_epochs(session, [line]), lambda: None) == 1
    assert not TrainSession.objects.exists()


def test_one_that_is_judged(project, deleted_during):
    (session,) = tell(project, "W")
    held = TrainSession.objects.select_for_update(no_key=True).filter(pk=session.pk)
    assert deleted_during(session, held.get, lambda: Occurrence.objects.update(issue_count=2)) == 1
    assert the_problem().session_count == 0
