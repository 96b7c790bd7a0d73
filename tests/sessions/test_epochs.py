from __future__ import annotations

import json
import math
import random
import sys

import pytest

from observer_client.packed import open_packed, pack
from observer_client.record import to_json
from sessions.models import TrainSession, TrainStep
from sessions.services import store_epochs
from tests.conftest import epoch_record


@pytest.fixture
def send(session, ingest):
    def post(*records):
        return ingest.post(f"/api/sessions/{session.key}/epochs", {"epochs": list(records)}, format="json")

    return post


def statuses(answer):
    assert answer.status_code == 200
    return [each["status"] for each in answer.json()["results"]]


def figures(session):
    session.refresh_from_db()
    return session.epoch_count, session.train_loss, session.val_loss


def test_a_batch_is_stored(send, session):
    assert statuses(send(epoch_record(4), epoch_record(5))) == ["stored", "stored"]
    assert figures(session) == (5, 1 / 5, 1.1 / 5)


def test_a_bare_list_is_a_batch(session, ingest):
    assert statuses(ingest.post(f"/api/sessions/{session.key}/epochs", [epoch_record(4)], format="json")) == ["stored"]


def test_sending_again_changes_nothing(send, session):
    replies = [statuses(send(epoch_record(4))) for _ in range(3)]
    assert replies == [["stored"], ["duplicate"], ["duplicate"]]
    assert figures(session)[0] == session.steps.count() == 4


def test_whitespace_does_not_make_a_conflict(send, session, ingest):
    send(epoch_record(4))
    spaced = json.dumps([epoch_record(4)], indent=4)
    answer = ingest.post(f"/api/sessions/{session.key}/epochs", spaced, content_type="application/json")
    assert statuses(answer) == ["duplicate"]


def test_other_content_is_a_conflict_and_the_first_stays(send, session):
    answer = send(epoch_record(3, learning_rate=9.0))
    assert statuses(answer) == ["conflict"]
    assert "attempt" in answer.json()["results"][0]["error"]
    assert session.steps.get(epoch=3).learning_rate == 0.01


def test_a_higher_attempt_replaces(send, session):
    assert statuses(send(epoch_record(3, attempt=1, learning_rate=9.0))) == ["stored"]
    assert session.steps.get(epoch=3).learning_rate == 9.0
    assert figures(session)[0] == 3


def test_an_earlier_attempt_that_comes_late_is_not_taken(send, session):
    send(epoch_record(3, attempt=2, learning_rate=9.0))
    assert statuses(send(epoch_record(3, attempt=1, learning_rate=5.0))) == ["duplicate"]
    assert session.steps.get(epoch=3).learning_rate == 9.0


def test_a_batch_may_repeat_an_epoch(send, session):
    answer = send(epoch_record(4), epoch_record(4), epoch_record(4, attempt=1), epoch_record(4, attempt=1, system={}))
    assert statuses(answer) == ["stored", "duplicate", "stored", "conflict"]
    assert session.steps.get(epoch=4).attempt == 1


def test_the_order_of_arrival_does_not_matter(session):
    records = [json.dumps(epoch_record(number)).encode() for number in range(4, 104)]
    random.Random(7).shuffle(records)
    for start in range(0, 100, 10):
        store_epochs(session, records[start : start + 10])
    assert figures(session) == (103, 1 / 103, 1.1 / 103)


def test_bad_items_do_not_reject_the_others(send, session):
    batch = [epoch_record(number) for number in range(4, 104)]
    spoiled = {3: "x", 20: {"epoch": -1}, 33: {"epoch": "two"}, 50: {}, 51: None, 70: {"epoch": 2**40}, 99: [1]}
    answer = send(*[spoiled.get(index, record) for index, record in enumerate(batch)])
    rejected = [index for index, status in enumerate(statuses(answer)) if status == "rejected"]
    assert rejected == list(spoiled)
    assert figures(session)[0] == 96


def test_a_rejected_item_says_where_it_is_wrong(send):
    (result,) = send({"epoch": 9, "loss": {"train_mean": "high"}}).json()["results"]
    assert (result["epoch"], result["status"]) == (9, "rejected")
    assert "$.loss.train_mean" in result["error"]


def test_unknown_fields_are_kept(send, session):
    assert statuses(send(epoch_record(4, tokens={"seen": 512}))) == ["stored"]
    assert json.loads(session.steps.get(epoch=4).payload)["tokens"] == {"seen": 512}


def test_the_payload_reads_back_as_the_record(session):
    step = session.steps.get(epoch=2)
    assert step.record().loss.val == {"val_loss": 0.55}
    assert bytes(step.packed) == pack(step.record())


def test_an_epoch_after_the_end_is_stored(send, session, ingest):
    ingest.post(f"/api/sessions/{session.key}/finish", {}, format="json")
    assert statuses(send(epoch_record(4))) == ["stored"]
    session.refresh_from_db()
    assert (session.status, session.epoch_count) == ("finished", 4)


def test_totals_follow_what_is_replaced(send, session):
    send(epoch_record(4, carbon_emissions={"epoch_co2_kg": 0.25, "epoch_energy_kwh": 1.0}))
    send(epoch_record(5, carbon_emissions={"epoch_co2_kg": 0.5}))
    send(epoch_record(4, attempt=1, carbon_emissions={"epoch_co2_kg": 0.125, "epoch_energy_kwh": 0.5}))
    session.refresh_from_db()
    assert (session.co2_kg, session.energy_kwh) == (0.625, 0.5)


def test_a_loss_that_was_not_logged_leaves_the_last_one(send, session):
    send({"epoch": 4, "loss": {"train_mean": 0.125}})
    assert figures(session) == (4, 0.125, 1.1 / 3)


@pytest.mark.parametrize(
    ("record", "where"),
    [
        pytest.param({"epoch": 2**31}, "$.epoch", id="epoch out of range"),
        pytest.param({"epoch": 4, "attempt": -1}, "$.attempt", id="negative attempt"),
        pytest.param(
            {"epoch": 4, "layer_health": {"layers": {"x" * 501: {}}}}, "$.layer_health.layers", id="long name"
        ),
        pytest.param(
            {"epoch": 4, "layer_health": {"layers": {str(n): {} for n in range(20_001)}}},
            "$.layer_health.layers",
            id="20,001 layers",
        ),
        pytest.param({"epoch": 4, "loss": {"val": {str(n): 1 for n in range(1001)}}}, "$.loss.val", id="1,001 metrics"),
        pytest.param({"epoch": 4, "steps": {"first": [1] * 20_001}}, "$.steps", id="20,001 buckets"),
    ],
)
def test_what_is_over_a_limit_is_rejected_by_itself(send, record, where):
    answer = send(record, epoch_record(5))
    assert statuses(answer) == ["rejected", "stored"]
    assert where in answer.json()["results"][0]["error"]


def test_a_deleted_session_takes_nothing(send, session):
    TrainSession.objects.all().delete()
    assert send(epoch_record(4)).status_code == 404
    assert not TrainStep.objects.exists()


def test_deep_unknown_fields_are_rejected(session):
    bomb = b'{"epoch": 4, "extra": ' + b"[" * 200 + b"]" * 200 + b"}"
    (result,) = store_epochs(session, [bomb])
    assert (result.status, "nested" in result.error) == ("rejected", True)


def test_brackets_in_names_are_no_depth(session):
    layers = {f"block[{n}" + "{" * 9: {"weight_norm": 1.0} for n in range(200)}
    (result,) = store_epochs(session, [json.dumps({"epoch": 4, "layer_health": {"layers": layers}}).encode()])
    assert result.status == "stored"
    layout, _ = open_packed(bytes(session.steps.get(epoch=4).packed))
    assert layout.layers == tuple(layers)


def test_a_sum_that_fits_no_column_is_the_largest_that_does(send, session):
    records = [epoch_record(number, carbon_emissions={"epoch_co2_kg": 1e308}) for number in (4, 5, 6)]
    assert statuses(send(*records)) == ["stored"] * 3
    session.refresh_from_db()
    assert session.co2_kg == sys.float_info.max


@pytest.mark.parametrize(
    ("losses", "shown"),
    [
        ([1.0, math.nan], (None, {"train_loss": "nan"})),
        ([math.nan, 1.0], (1.0, {})),
        ([math.inf, None], (None, {"train_loss": "inf"})),
        ([1.0, None], (1.0, {})),
    ],
    ids=["diverged", "recovered", "not logged since", "finite"],
)
def test_a_session_remembers_that_its_latest_loss_was_not_finite(session, losses, shown):
    store_epochs(
        session, [to_json({"epoch": 10 + at, "loss": {"train_mean": loss}}).encode() for at, loss in enumerate(losses)]
    )
    session.refresh_from_db()
    assert (session.train_loss, session.non_finite) == shown
