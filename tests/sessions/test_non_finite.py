"""The epoch that diverged is the one that must not be lost."""

from __future__ import annotations

import json
import math

import pytest

from observer_client.record import to_json
from tests.conftest import epoch_record


def stored(session, ingest, body):
    answer = ingest.post(f"/api/sessions/{session.key}/epochs", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert [each["status"] for each in answer.json()["results"]] == ["stored"], answer.content
    return session.steps.get(epoch=4)


def body_with(spelling):
    return f'[{{"epoch": 4, "loss": {{"train_mean": {spelling}, "val": {{"val_loss": 0.5}}}}}}]'


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ("NaN", math.nan),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        ('"nan"', math.nan),
        ('"inf"', math.inf),
        ('"-inf"', -math.inf),
        ('"NaN"', math.nan),
        ("1e400", math.inf),
        ("-1e400", -math.inf),
    ],
)
def test_a_non_finite_loss_is_stored_as_such(session, ingest, spelling, value):
    step = stored(session, ingest, body_with(spelling))
    assert repr(step.record().loss.train_mean) == repr(value)
    assert (step.train_loss, step.val_loss, step.non_finite) == (None, 0.5, True)
    json.loads(step.payload, parse_constant=pytest.fail)


@pytest.mark.parametrize("spelling", ["-0.0", "1e308", "5e-324", "0.1", "3"])
def test_a_finite_loss_is_stored_to_the_bit(session, ingest, spelling):
    step = stored(session, ingest, body_with(spelling))
    assert repr(step.record().loss.train_mean) == repr(float(spelling))
    assert (step.train_loss, step.non_finite) == (float(spelling), False)


def test_a_loss_that_was_not_logged_is_not_a_nan(session, ingest):
    step = stored(session, ingest, '[{"epoch": 4}]')
    assert (step.train_loss, step.non_finite) == (None, False)


def test_what_the_client_spells_arrives(session, ingest):
    record = epoch_record(4, learning_rate=math.nan, layer_health={"layers": {"fc": {"weight_norm": math.inf}}})
    step = stored(session, ingest, f"[{to_json(record)}]")
    assert math.isnan(step.record().learning_rate)
    assert step.record().layer_health.layers["fc"].weight_norm == math.inf


def test_the_session_shows_no_stale_loss_after_a_nan(session, ingest):
    stored(session, ingest, body_with("NaN"))
    session.refresh_from_db()
    assert (session.train_loss, session.val_loss) == (None, 0.5)


def test_the_answer_is_valid_json(session, ingest, as_user, alice):
    stored(session, ingest, body_with("NaN"))
    answer = as_user(alice).get(f"/api/sessions/{session.key}/epochs")
    last = json.loads(answer.content, parse_constant=pytest.fail)["results"][-1]
    assert last["loss"]["train_mean"] == "nan"
