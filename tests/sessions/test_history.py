"""What a session measured, as columns."""

from __future__ import annotations

import json

import pytest

from projects.models import KeyKind
from sessions.services import metric_history, store_epochs
from tests.conftest import epoch_record


@pytest.fixture
def of_reader(as_key):
    return lambda session: as_key(KeyKind.READ).get(f"/api/sessions/{session.pk}/metrics")


def test_every_number_is_in_a_list_by_its_name(session, of_reader):
    said = of_reader(session).json()
    assert said["epoch"] == [1, 2, 3]
    assert said["loss.train_mean"] == pytest.approx([1.0, 0.5, 1 / 3])
    assert set(map(len, said.values())) == {3}


def test_what_only_some_epochs_logged_has_gaps(session):
    store_epochs(session, [json.dumps(epoch_record(4, loss={"train_mean": 0.1, "val": {"f1": 0.7}})).encode()])
    columns = metric_history(session)
    assert columns["loss.val.f1"] == [None, None, None, 0.7]
    assert columns["loss.val.val_loss"][3] is None


def test_nan_and_infinity_are_spelled(session, of_reader):
    store_epochs(session, [b'{"epoch": 4, "loss": {"train_mean": NaN}, "learning_rate": "-inf"}'])
    said = of_reader(session).json()
    assert said["loss.train_mean"][3] == "nan"
    assert said["learning_rate"][2:] == [0.01, "-inf"]


def test_a_session_without_epochs_has_none(session):
    session.steps.all().delete()
    assert metric_history(session) == {"epoch": []}


def test_strangers_get_404(session, charlie, as_user):
    assert as_user(charlie).get(f"/api/sessions/{session.pk}/metrics").status_code == 404


def test_it_is_one_query(session, django_assert_num_queries):
    with django_assert_num_queries(1):
        metric_history(session)


def test_a_list_of_sessions_has_their_latest_metrics(session, as_key):
    store_epochs(session, [json.dumps(epoch_record(4, loss={"train_mean": 0.1, "val": {"f1": 0.7}})).encode()])
    listed = as_key(KeyKind.READ).get("/api/sessions").json()["results"][0]
    assert listed["metrics"] == {"f1": 0.7}
