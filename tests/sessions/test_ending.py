from __future__ import annotations

import threading
import time

import pytest
from django.db import connection
from django.utils.timezone import now

from sessions.models import TrainSession
from sessions.signals import session_finished


def finish(client, session, body=None, **headers):
    return client.post(f"/api/sessions/{session.key}/finish", body or {}, format="json", headers=headers)


def test_a_session_ends(session, ingest):
    answer = finish(
        ingest, session, {"status": "crashed", "reason": "ValueError: bad", "ended_at": "2026-01-02T00:00:00Z"}
    )
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["id"]) == ("crashed", session.pk)
    session.refresh_from_db()
    assert (session.reason, session.finished.year) == ("ValueError: bad", 2026)


def test_the_first_ending_stays(session, ingest):
    told = []
    session_finished.connect(lambda **news: told.append(news["session"].pk), dispatch_uid="test", weak=False)
    try:
        finish(ingest, session, {"status": "killed"})
        assert finish(ingest, session, {"status": "finished"}).json()["status"] == "killed"
    finally:
        session_finished.disconnect(dispatch_uid="test")
    assert told == [session.pk]


@pytest.mark.parametrize("status", ["running", "done", "", 5])
def test_an_unknown_status_is_refused(session, ingest, status):
    answer = finish(ingest, session, {"status": status})
    assert (answer.status_code, answer.json()["path"]) == (400, "$.status")


def test_without_a_diagnosis_there_is_none(session, ingest):
    assert finish(ingest, session).json()["diagnosis"] is None


def test_an_older_diagnosis_does_not_count(session, ingest):
    TrainSession.objects.update(health_score=90, diagnosed=now())
    assert finish(ingest, session).json()["diagnosis"] is None


def test_a_diagnosis_of_everything_is_told(session, ingest):
    finish(ingest, session)
    TrainSession.objects.update(health_score=60, critical_count=2, info_count=1, diagnosed=now())
    body = finish(ingest, session).json()
    assert body["diagnosis"] == {"health_score": 60, "critical": 2, "warning": 0, "info": 1}


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_with_the_diagnosis(session, ingest):
    def judge():
        while not TrainSession.objects.exclude(status="running").exists():
            time.sleep(0.01)
        TrainSession.objects.update(health_score=75, diagnosed=now())
        connection.close()

    judging = threading.Thread(target=judge)
    judging.start()
    body = finish(ingest, session, Prefer="respond-async, wait=30").json()
    judging.join()
    assert body["diagnosis"]["health_score"] == 75


def test_waiting_has_an_end(session, ingest):
    began = time.monotonic()
    assert finish(ingest, session, Prefer="wait=1").json()["diagnosis"] is None
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-5", "wait=soon", "return=minimal"])
def test_an_absurd_wait_is_none(session, ingest, prefer):
    assert finish(ingest, session, Prefer=prefer).status_code == 200


def test_a_heartbeat_says_that_the_run_is_alive(session, ingest):
    before = session.last_seen
    answer = ingest.post(f"/api/sessions/{session.key}/heartbeat", {"epoch": 3, "expect_next_in": 30}, format="json")
    assert answer.json() == {"status": "running"}
    session.refresh_from_db()
    assert (session.last_seen > before, session.expect_next_in) == (True, 30.0)


def test_a_heartbeat_after_the_end_says_that_it_ended(session, ingest):
    finish(ingest, session)
    ended = TrainSession.objects.get().last_seen
    answer = ingest.post(f"/api/sessions/{session.key}/heartbeat", {}, format="json")
    assert answer.json() == {"status": "finished"}
    assert TrainSession.objects.get().last_seen == ended


@pytest.mark.parametrize("seconds", [-1, "nan", "inf", "soon"])
def test_an_absurd_next_time_is_refused(session, ingest, seconds):
    answer = ingest.post(f"/api/sessions/{session.key}/heartbeat", {"expect_next_in": seconds}, format="json")
    assert answer.status_code == 400


@pytest.mark.parametrize("wait", ["wait=\xb2", "wait=soon", "wait=-1", "wait=nan", "wait", "=", "wait=0"])
def test_a_strange_preference_is_ignored(session, ingest, wait):
    assert finish(ingest, session, Prefer=wait).status_code == 200
