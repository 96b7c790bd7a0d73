"""However many wait for a diagnosis, the server answers everybody else, and them at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from mldiag.handler import MOST_THREADS
from projects.models import KeyKind
from projects.services.waiting import MOST_WAITING, patience


@pytest.fixture
def crowd():
    """As many requests as may wait do."""
    with ExitStack() as others:
        for _ in range(MOST_WAITING):
            assert others.enter_context(patience(30)) == 30
        yield


@pytest.fixture
def nobody_sleeps(monkeypatch):
    def sleep(seconds):
        pytest.fail("It waits.")

    monkeypatch.setattr("sessions.api.time.sleep", sleep)
    monkeypatch.setattr("diagnostics.services.orders.sleep", sleep)


def test_threads_are_left_for_those_who_send():
    assert MOST_WAITING < MOST_THREADS


def test_places_are_given_back():
    for _ in range(2):
        with ExitStack() as others:
            granted = [others.enter_context(patience(30)) for _ in range(MOST_WAITING + 1)]
        assert granted == [30] * MOST_WAITING + [0]


@pytest.mark.usefixtures("crowd", "nobody_sleeps")
def test_a_finish_is_answered_at_once(session, as_key):
    path = f"/api/sessions/{session.key}/finish"
    said = as_key(KeyKind.FULL).post(path, {"status": "finished"}, format="json", headers={"prefer": "wait=30"})
    assert (said.status_code, said.json()["status"], said.json()["diagnosis"]) == (200, "finished", None)


@pytest.mark.usefixtures("crowd", "nobody_sleeps")
def test_a_diagnosis_that_was_asked_for_is_promised(session, as_key):
    said = as_key(KeyKind.FULL).post(f"/diagnostics/sessions/{session.pk}/run")
    assert said.status_code == 202
