"""Running, stalled, lost, and back again."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from django.utils.timezone import now

from observer_client.record import Ending, Opening
from sessions import services
from sessions.models import TrainSession
from tests.conftest import epoch_record


def seen(session, ago, *, promised=15.0, step=None, progress=None):
    then = {"last_seen": now() - timedelta(seconds=ago), "progressed": now() - timedelta(seconds=progress or ago)}
    TrainSession.objects.filter(pk=session.pk).update(expect_next_in=promised, step=step, **then)
    return TrainSession.objects.get(pk=session.pk)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        pytest.param({"ago": 10}, "running", id="on time"),
        pytest.param({"ago": 290}, "running", id="five minutes are allowed"),
        pytest.param({"ago": 310}, "lost", id="late"),
        pytest.param({"ago": 3600, "promised": 3600.0}, "running", id="as promised"),
        pytest.param({"ago": 3700, "promised": 3600.0}, "lost", id="later than promised"),
        pytest.param({"ago": 7200, "promised": None}, "running", id="nothing promised"),
        pytest.param({"ago": 90_000, "promised": None}, "lost", id="nothing promised for a day"),
        pytest.param({"ago": 10, "step": 5, "progress": 400}, "stalled", id="no step"),
        pytest.param({"ago": 10, "step": 5, "progress": 200}, "running", id="a slow step"),
        pytest.param({"ago": 10, "step": 0, "progress": 4000}, "running", id="tells no steps"),
    ],
)
def test_state(session, told, state):
    assert seen(session, **told).state == state


@pytest.mark.parametrize("status", ["finished", "crashed", "killed"])
def test_what_ended_is_neither_lost_nor_stalled(session, status):
    services.finish(session, Ending(status=status))
    assert seen(session, 10_000, step=5).state == status


def test_a_lost_run_that_beats_is_running(session, ingest):
    seen(session, 1000, step=5)
    ingest.post(f"/api/sessions/{session.key}/heartbeat", {"step": 6, "expect_next_in": 15}, format="json")
    again = TrainSession.objects.get(pk=session.pk)
    assert (again.state, again.step) == ("running", 6)


def test_a_step_that_does_not_move_is_no_progress(session):
    held = seen(session, 10, step=5, progress=400)
    services.heartbeat(held, step=5, expect_next_in=15.0)
    assert TrainSession.objects.get(pk=session.pk).state == "stalled"
    services.heartbeat(held, step=6)
    assert TrainSession.objects.get(pk=session.pk).state == "running"


@pytest.mark.parametrize("step", [-1, 2**63])
def test_absurd_steps_are_passed_over(session, step):
    services.heartbeat(session, step=step)
    assert TrainSession.objects.get(pk=session.pk).step is None


def test_an_epoch_is_progress(session):
    seen(session, 10, step=5, progress=400)
    services.store_epochs(session, [msgspec.json.encode(epoch_record(7))])
    assert TrainSession.objects.get(pk=session.pk).state == "running"


def test_silence_is_told_once(session):
    lost = seen(session, 1000)
    assert list(TrainSession.objects.silent()) == [lost]
    assert services.note_silence(lost) and not services.note_silence(lost)
    assert not TrainSession.objects.silent().exists()


def test_the_api_says_so(session, ingest, as_user, alice):
    seen(session, 1000)
    told = as_user(alice).get(f"/api/sessions/{session.key}").json()
    assert (told["status"], told["state"]) == ("running", "lost")


def opened(session, attempt):
    opening = Opening(key=str(session.key), attempt=attempt, run_name="again")
    return services.open_session(opening, user=None, key=None)


@pytest.fixture
def in_the_open(settings):
    settings.MLDIAG_AUTH = "open"


@pytest.mark.parametrize("status", ["finished", "crashed", "killed"])
def test_a_resumed_run_goes_on(session, status, in_the_open):
    services.finish(session, Ending(status=status, reason="x"))
    again, created = opened(session, 1)
    assert (created, again.status, again.reason, again.finished, again.attempt) == (False, "running", "", None, 1)


@pytest.mark.parametrize("attempt", [0, 1, -1, 2**40])
def test_an_opening_that_is_sent_again_resumes_nothing(session, attempt, in_the_open):
    TrainSession.objects.filter(pk=session.pk).update(attempt=1)
    services.finish(session, Ending(status="crashed", reason="x"))
    assert opened(session, attempt)[0].status == "crashed"


def test_a_run_resumed_before_the_server_heard_of_it(project, in_the_open):
    opening = Opening(key=str(uuid4()), attempt=3, project_id=project.pk)
    session, created = services.open_session(opening, user=None, key=None)
    assert (created, session.attempt, session.status) == (True, 3, "running")
