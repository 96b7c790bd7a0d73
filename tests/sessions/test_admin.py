from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from observer_client.record import Architecture
from sessions.models import SessionLog, TrainSession
from sessions.services import register_model, store_epochs
from tests.conftest import epoch_record

MODELS = ["trainsession", "trainstep", "model", "sessionlog"]
NASTY = "<script>alert(1)</script>"


@pytest.fixture
def filled(session):
    register_model(session, Architecture(model_class=NASTY))
    SessionLog.objects.create(session=session, seq=1, msg=NASTY)
    store_epochs(session, [json.dumps(epoch_record(4, note=NASTY)).encode()])
    session.hyperparameters = {"note": NASTY}
    session.save()
    return session


def rows_of(session):
    return {
        "trainsession": session,
        "trainstep": session.steps.get(epoch=4),
        "model": session.model,
        "sessionlog": session.logs.get(),
    }


@pytest.mark.parametrize("model", MODELS)
def test_a_row_is_shown_escaped_and_cannot_be_edited(admin_client, filled, model):
    row = rows_of(filled)[model]
    answer = admin_client.get(reverse(f"admin:training_{model}_change", args=[row.pk]))
    assert answer.status_code == 200
    assert NASTY not in answer.content.decode()
    assert "&lt;script&gt;" in answer.content.decode()
    assert b'name="_save"' not in answer.content


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_found(admin_client, filled, model):
    answer = admin_client.get(reverse(f"admin:training_{model}_changelist"), {"q": "first"})
    assert answer.status_code == 200
    assert NASTY not in answer.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_for_many(admin_client, filled, project, model):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            assert admin_client.get(reverse(f"admin:training_{model}_changelist")).status_code == 200
        return len(seen)

    few = cost()
    for number in range(60):
        other = TrainSession.objects.create(project=project, name=f"run {number}")
        register_model(other, Architecture(model_class="Net"))
        SessionLog.objects.create(session=other, seq=1, msg="x")
        store_epochs(other, [json.dumps(epoch_record(1)).encode()])
    assert cost() == few


def test_a_huge_payload_is_cut(admin_client, filled):
    filled.hyperparameters = {"x": "y" * 200_000}
    filled.save()
    answer = admin_client.get(reverse("admin:training_trainsession_change", args=[filled.pk]))
    assert "more characters" in answer.content.decode()
    assert len(answer.content) < 100_000


@pytest.mark.parametrize("model", MODELS)
def test_nobody_adds_by_hand(admin_client, db, model):
    assert admin_client.get(reverse(f"admin:training_{model}_add")).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_the_admin_is_not_for_members(client, bob, filled, model):
    client.force_login(bob)
    assert client.get(reverse(f"admin:training_{model}_changelist")).status_code == 302
