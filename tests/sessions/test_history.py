"""What a session measured, as columns."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from observer_client.packed import pack
from observer_client.record import Epoch, LayerHealth, LayerStats
from projects.models import KeyKind
from sessions.models import TrainSession, TrainStep
from sessions.services import history, metric_history, store_epochs
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


@pytest.mark.parametrize("epochs", [0, 60])
def test_it_is_two_queries_for_many_epochs(session, django_assert_num_queries, epochs):
    store_epochs(session, [json.dumps(epoch_record(4 + number)).encode() for number in range(epochs)])
    with django_assert_num_queries(2):
        assert len(metric_history(session)["epoch"]) == 3 + epochs


def test_what_was_logged_twice_and_anew_is_in_order(session):
    """Layouts that come and go, as of a metric that is validated each third epoch."""
    values = {
        number: {"val": {"f1": number / 10}} if number % 3 == 0 else {"train_mean": 1.0} for number in range(4, 12)
    }
    store_epochs(session, [json.dumps(epoch_record(number, loss=loss)).encode() for number, loss in values.items()])
    columns = metric_history(session)
    assert columns["epoch"] == list(range(1, 12))
    assert columns["loss.val.f1"][3:] == [None, None, 0.6, None, None, 0.9, None, None]
    assert columns["loss.train_mean"][3:] == [1.0, 1.0, None, 1.0, 1.0, None, 1.0, 1.0]


def test_numbers_whose_sum_is_too_large_stay_numbers(session):
    store_epochs(session, [b'{"epoch": 4, "learning_rate": 1e308}', b'{"epoch": 5, "learning_rate": 1e308}'])
    assert metric_history(session)["learning_rate"][3:] == [1e308, 1e308]


@pytest.mark.parametrize(
    ("query", "epochs"), [("first=2", [2, 3]), ("last=2", [1, 2]), ("first=2&last=2", [2]), ("first=9", [])]
)
def test_a_part_of_the_epochs(session, as_key, query, epochs):
    assert as_key(KeyKind.READ).get(f"/api/sessions/{session.pk}/metrics?{query}").json()["epoch"] == epochs


def test_names_leave_out_all_other_lists(session, as_key):
    said = as_key(KeyKind.READ).get(f"/api/sessions/{session.pk}/metrics?names=loss.train_mean,nothing").json()
    assert list(said) == ["epoch", "loss.train_mean"]


@pytest.mark.parametrize(
    "query", ["first=x", "last=-1", "first=1.5", "last=" + "9" * 30, "first=", "first=99999999999"]
)
def test_what_is_no_epoch_is_refused(session, as_key, query):
    assert as_key(KeyKind.READ).get(f"/api/sessions/{session.pk}/metrics?{query}").status_code == 400


def test_too_many_epochs_are_refused(session, as_key, monkeypatch):
    monkeypatch.setattr(history, "MOST_EPOCHS", 2)
    reader = as_key(KeyKind.READ)
    assert "more than 2 epochs" in reader.get(f"/api/sessions/{session.pk}/metrics").json()["detail"]
    assert reader.get(f"/api/sessions/{session.pk}/metrics?last=2").status_code == 200


def test_too_many_numbers_are_refused(session, as_key, monkeypatch):
    reader, numbers = as_key(KeyKind.READ), len(metric_history(session)) + 1
    monkeypatch.setattr(history, "MOST_NUMBERS", 2 * numbers)
    assert "numbers" in reader.get(f"/api/sessions/{session.pk}/metrics").json()["detail"]
    assert reader.get(f"/api/sessions/{session.pk}/metrics?last=2").status_code == 200


@pytest.fixture
def traced():
    yield tracemalloc
    tracemalloc.stop()


def test_large_epochs_of_another_layout_are_not_in_memory_at_once(session, traced, monkeypatch):
    """As if layers were looked at in all epochs but the last."""
    monkeypatch.setattr(history, "ROWS_AT_ONCE", 10)
    layers = {f"layer{place}": LayerStats(weight_norm=1.0) for place in range(2_000)}
    large = pack(Epoch(epoch=4, layer_health=LayerHealth(layers=layers)))
    blobs = [*[large] * 200, bytes(session.steps.last().packed)]
    TrainStep.objects.bulk_create(
        TrainStep(session=session, epoch=4 + place, packed=blob, digest="") for place, blob in enumerate(blobs)
    )
    TrainSession.objects.update(epoch_count=204)
    metric_history(session)
    traced.start()
    assert len(metric_history(session)["epoch"]) == 204
    assert traced.get_traced_memory()[1] < 100 * len(large)


@pytest.fixture
def other(project):
    made = TrainSession.objects.create(project=project, name="second try")
    store_epochs(made, [json.dumps(epoch_record(number, learning_rate=0.5)).encode() for number in (7, 8)])
    return made


def test_several_sessions_come_in_one_answer_as_asked_for(session, other, as_user, bob):
    said = as_user(bob).get(f"/api/metrics?sessions={other.key},{session.pk},{other.pk}").json()["sessions"]
    assert [(each["id"], each["key"], each["name"]) for each in said] == [
        (each.pk, str(each.key), each.name) for each in (other, session)
    ]
    assert [each["metrics"] for each in said] == [metric_history(each) for each in (other, session)]


def test_a_session_without_epochs_is_among_them(session, project, as_user, bob):
    empty = TrainSession.objects.create(project=project, name="empty")
    said = as_user(bob).get(f"/api/metrics?sessions={session.pk},{empty.pk}").json()["sessions"]
    assert [each["metrics"]["epoch"] for each in said] == [[1, 2, 3], []]


@pytest.mark.parametrize("number", [1, 12])
def test_several_sessions_take_the_same_queries(project, as_user, bob, django_assert_num_queries, number):
    sessions = [TrainSession.objects.create(project=project, name=str(each)) for each in range(number)]
    for each in sessions:
        store_epochs(each, [json.dumps(epoch_record(1)).encode()])
    reader = as_user(bob)
    with django_assert_num_queries(5):
        reader.get(f"/api/metrics?sessions={','.join(str(each.pk) for each in sessions)}")


@pytest.mark.parametrize("named", ["nonsense", "0", "00000000-0000-0000-0000-000000000000", "9" * 18, "²"])
def test_a_session_that_is_not_there_is_named(session, as_user, bob, named):
    answer = as_user(bob).get(f"/api/metrics?sessions={session.pk},{named}")
    assert answer.status_code == 404
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("query", ["", "?sessions=", "?sessions=,", "?sessions=" + ",".join("1" * 51)])
def test_none_and_too_many_sessions_are_refused(as_user, bob, query):
    assert as_user(bob).get(f"/api/metrics{query}").status_code == 400


def test_strangers_get_404_for_several_too(session, charlie, as_user):
    assert as_user(charlie).get(f"/api/metrics?sessions={session.key}").status_code == 404


def test_a_list_of_sessions_has_their_latest_metrics(session, as_key):
    store_epochs(session, [json.dumps(epoch_record(4, loss={"train_mean": 0.1, "val": {"f1": 0.7}})).encode()])
    listed = as_key(KeyKind.READ).get("/api/sessions").json()["results"][0]
    assert listed["metrics"] == {"f1": 0.7}
