"""What an index knows of sessions: their tags, hyperparameters and metrics."""

from __future__ import annotations

import json
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from observer_client.record import Ending, Opening
from sessions.models import EntryKind, SessionEntry
from sessions.services import (
    archive_sessions,
    delete_sessions,
    finish,
    open_session,
    restore_sessions,
    store_epochs,
    tag_sessions,
    update_session,
)
from tests.conftest import epoch_record


def known(session, kind):
    return dict(session.entries.filter(kind=kind).values_list("name", "number"))


def metrics_epoch(number, **metrics):
    record = epoch_record(number)
    return json.dumps(record | {"loss": {"train_mean": 1.0, "val": metrics}}).encode()


@pytest.fixture
def run(project, bob):
    opening = Opening(key=str(uuid4()), project_id=project.pk, tags=["good", "good"])
    opening.hyperparameters = {"lr": 0.1, "model": {"depth": 3}, "name": "adam", "none": None, "x" * 101: 1}
    return open_session(opening, user=bob, key=None)[0]


def test_an_opened_session_is_known_by_its_tags_and_hyperparameters(run):
    assert known(run, EntryKind.TAG) == {"good": run.started.timestamp()}
    assert known(run, EntryKind.HYPERPARAMETER).keys() == {"lr", "name"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, ""), (7, ""), (True, ""), (10**400, str(10**400)[:100]), ("adam", "adam"), (["a", 1], '["a", 1]')],
    ids=["float", "integer", "boolean", "huge", "text", "list"],
)
def test_a_value_is_a_number_or_a_text(run, value, text):
    update_session(run, hyperparameters={"value": value})
    assert run.entries.get(name="value").text == text


def test_what_is_told_later_is_known(run):
    update_session(run, hyperparameters={"lr": 0.2, "depth": 4}, tags=["bad"])
    assert known(run, EntryKind.HYPERPARAMETER)["lr"] == 0.2
    assert known(run, EntryKind.TAG).keys() == {"bad"}


def test_metrics_are_known_from_the_end_on(run):
    store_epochs(run, [metrics_epoch(1, acc=0.5)])
    assert known(run, EntryKind.METRIC) == {}
    finish(run, Ending(status="finished"))
    assert known(run, EntryKind.METRIC) == {"acc": 0.5}


def test_what_comes_after_the_end_is_known(run):
    finish(run, Ending(status="finished"))
    store_epochs(run, [metrics_epoch(1, acc=0.5)])
    store_epochs(run, [metrics_epoch(2, acc=0.75)])
    assert known(run, EntryKind.METRIC) == {"acc": 0.75}


def test_a_resumed_session_has_no_last_metrics(run, bob):
    store_epochs(run, [metrics_epoch(1, acc=0.5)])
    finish(run, Ending(status="crashed"))
    open_session(Opening(key=str(run.key), attempt=1), user=bob, key=None)
    assert known(run, EntryKind.METRIC) == {}
    assert known(run, EntryKind.TAG).keys() == {"good"}


def test_an_epoch_of_a_running_session_writes_no_entry(run):
    with CaptureQueriesContext(connection) as seen:
        store_epochs(run, [metrics_epoch(1, acc=0.5)])
    assert not any(SessionEntry._meta.db_table in each["sql"] for each in seen.captured_queries)


def test_the_same_metrics_again_write_no_entry(run):
    finish(run, Ending(status="finished"))
    store_epochs(run, [metrics_epoch(1, acc=0.5)])
    with CaptureQueriesContext(connection) as seen:
        store_epochs(run, [metrics_epoch(2, acc=0.5)])
    assert not any(SessionEntry._meta.db_table in each["sql"] for each in seen.captured_queries)


def test_tags_that_are_added_and_taken_are_known(project, run):
    tag_sessions(project, [run.pk], "new")
    tag_sessions(project, [run.pk], "good", remove=True)
    assert known(run, EntryKind.TAG).keys() == {"new"}


def test_the_archive_is_known(project, run):
    archive_sessions(project, [run.pk])
    assert set(run.entries.values_list("is_archived", flat=True)) == {True}
    tag_sessions(project, [run.pk], "new")
    assert set(run.entries.values_list("is_archived", flat=True)) == {True}
    restore_sessions(project, [run.pk])
    assert set(run.entries.values_list("is_archived", flat=True)) == {False}


def test_a_deleted_session_is_forgotten(project, run):
    delete_sessions(project, [run.pk])
    assert not SessionEntry.objects.exists()


def test_the_index_is_made_anew(run):
    SessionEntry.objects.all().delete()
    told = StringIO()
    call_command("index_sessions", stdout=told)
    assert told.getvalue() == "1 sessions indexed.\n"
    assert known(run, EntryKind.HYPERPARAMETER).keys() == {"lr", "name"}
