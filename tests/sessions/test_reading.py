from __future__ import annotations

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions.models import SessionLog, TrainSession, TrainStep
from sessions.serializers import EpochPages, SessionOut
from sessions.services import store_epochs
from tests.conftest import epoch_record


@pytest.fixture
def reader(as_user, bob):
    return as_user(bob)


def test_a_session_is_found_by_key_and_by_number(reader, session):
    by_key, by_number = (reader.get(f"/api/sessions/{name}").json() for name in (session.key, session.pk))
    assert by_key == by_number
    assert (by_key["epoch_count"], by_key["train_loss"]) == (3, 1 / 3)


def test_a_key_of_digits_is_a_key(reader, project):
    key = "12345678123456781234567812345678"
    TrainSession.objects.create(project=project, key=key, name="digits")
    assert reader.get(f"/api/sessions/{key}").json()["name"] == "digits"


def test_epochs_are_read_as_they_were_sent(reader, session):
    body = reader.get(f"/api/sessions/{session.key}/epochs").json()
    assert body["count"] == 3
    assert body["results"] == [epoch_record(number) for number in (1, 2, 3)]


def test_epochs_come_in_pages(reader, session):
    first = reader.get(f"/api/sessions/{session.key}/epochs?page_size=2").json()
    second = reader.get(first["next"]).json()
    assert [each["epoch"] for each in first["results"] + second["results"]] == [1, 2, 3]
    assert (first["previous"], second["next"]) == (None, None)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 500])
@pytest.mark.parametrize("most", [0, 400, 700, 10**6])
def test_pages_of_large_epochs_end_early_and_lose_nothing(reader, session, monkeypatch, most, size):
    monkeypatch.setattr(EpochPages, "most_characters", most)
    store_epochs(session, [json.dumps(epoch_record(number)).encode() for number in range(4, 13)])
    address, found = f"/api/sessions/{session.key}/epochs?page_size={size}", []
    while address:
        answer = reader.get(address)
        assert len(answer.json()["results"]) == 1 or len(answer.content) < most + 400
        found += [each["epoch"] for each in answer.json()["results"]]
        address = answer.json()["next"]
    assert found == list(range(1, 13))


def test_a_session_without_epochs_has_an_empty_page(reader, session):
    session.steps.all().delete()
    assert reader.get(f"/api/sessions/{session.key}/epochs").json()["results"] == []


@pytest.mark.parametrize("page", ["0", "2", "x", "-1", "9" * 30])
def test_a_page_beyond_the_end_is_not_found(reader, session, page):
    assert reader.get(f"/api/sessions/{session.key}/epochs?page={page}").status_code == 404


def test_pages_are_limited(reader, project):
    TrainSession.objects.bulk_create(TrainSession(project=project, name=str(number)) for number in range(501))
    assert len(reader.get("/api/sessions?page_size=100000").json()["results"]) == 500


def test_sessions_of_one_project(reader, session, project):
    assert reader.get(f"/api/sessions?project={project.pk}").json()["count"] == 1
    assert reader.get(f"/api/sessions?project={project.pk + 1}").json()["count"] == 0


@pytest.mark.parametrize("number", ["x", "-1", "1 or 1", "²", "9" * 30])
def test_an_absurd_project_is_refused(reader, session, number):
    assert reader.get("/api/sessions", {"project": number}).status_code == 400


def test_the_newest_session_comes_first(reader, session, project):
    TrainSession.objects.create(project=project, key=uuid4(), name="newer")
    assert [each["name"] for each in reader.get("/api/sessions").json()["results"]] == ["newer", "first try"]


def test_a_line_has_the_fields_that_were_asked_for(reader, session):
    line = reader.get("/api/sessions?fields=name,state,train_loss").json()["results"][0]
    assert line == {"name": "first try", "state": "running", "train_loss": 1 / 3}


def test_a_line_says_what_the_session_says(reader, session):
    session.tags, session.metrics = ["ä", 'a"b'], {"f1": 0.5}
    session.save()
    line = reader.get("/api/sessions").json()["results"][0]
    said = reader.get(f"/api/sessions/{session.pk}").json()
    assert list(line) == list(SessionOut.Meta.fields)
    assert line == {name: said[name] for name in line}


def test_a_field_that_is_not_there_is_named(reader, session):
    answer = reader.get("/api/sessions?fields=name,password")
    assert answer.status_code == 400
    assert "password" in answer.json()["detail"]


def test_pages_without_a_count_are_the_same_pages(reader, session, project):
    TrainSession.objects.bulk_create(TrainSession(project=project, name=str(number)) for number in range(4))
    for size in (2, 5, 9):
        counted, uncounted = (f"/api/sessions?page_size={size}{count}" for count in ("", "&count=false"))
        while counted:
            one, other = reader.get(counted).json(), reader.get(uncounted).json()
            assert (other["count"], other["results"]) == (None, one["results"])
            counted, uncounted = one["next"], other["next"]
        assert uncounted is None


def test_a_list_of_none_needs_no_count(reader, project):
    assert reader.get("/api/sessions?count=false").json() == {
        "count": None,
        "next": None,
        "previous": None,
        "results": [],
    }


@pytest.mark.parametrize("page", ["0", "2", "x", "-1", "9" * 30])
def test_a_page_beyond_the_end_is_not_found_without_a_count(reader, session, page):
    assert reader.get(f"/api/sessions?count=false&page={page}").status_code == 404


def test_a_count_is_asked_for_or_not(reader, session):
    assert reader.get("/api/sessions?count=maybe").status_code == 400


def test_the_fields_stay_from_page_to_page(reader, session, project):
    TrainSession.objects.create(project=project, key=uuid4(), name="newer")
    page = reader.get("/api/sessions?page_size=1&fields=name").json()
    assert reader.get(page["next"]).json()["results"] == [{"name": "first try"}]


def many(session):
    """Add 200 rows of everything that a list may show."""
    sessions = TrainSession.objects.bulk_create(
        TrainSession(project=session.project, name=f"run {number}") for number in range(200)
    )
    SessionLog.objects.bulk_create(SessionLog(session=session, seq=number, msg="x") for number in range(200))
    store_epochs(session, [json.dumps(epoch_record(number)).encode() for number in range(4, 204)])
    return sessions


@pytest.mark.parametrize(
    ("address", "queries"),
    [
        pytest.param("/api/sessions?page_size=500", 4, id="sessions"),
        pytest.param("/api/sessions?page_size=500&count=false", 3, id="sessions without a count"),
        pytest.param("/api/sessions/{key}", 3, id="a session"),
        pytest.param("/api/sessions/{key}/epochs?page_size=500", 6, id="epochs"),
        pytest.param("/api/sessions/{key}/logs?page_size=500", 5, id="logs"),
    ],
)
def test_a_list_costs_the_same_for_many(reader, session, address, queries, django_assert_num_queries):
    SessionLog.objects.create(session=session, seq=1000, msg="x")
    for add in (lambda: None, lambda: many(session)):
        add()
        with django_assert_num_queries(queries):
            assert reader.get(address.format(key=session.key)).status_code == 200


def test_a_batch_costs_the_same_for_many(session):
    def cost(first, last):
        batch = [json.dumps(epoch_record(number)).encode() for number in range(first, last)]
        with CaptureQueriesContext(connection) as seen:
            store_epochs(session, batch)
        return len(seen)

    # SQLite takes so many values in one statement, and no more.
    assert cost(4, 5) == cost(5, 55)


def test_repacking_restores_what_was_lost(session):
    before = {step.epoch: (bytes(step.packed), step.train_loss) for step in session.steps.all()}
    TrainStep.objects.update(packed=b"", train_loss=None)
    call_command("repack", session=session.pk, stdout=StringIO())
    assert {step.epoch: (bytes(step.packed), step.train_loss) for step in session.steps.all()} == before
