"""A project learns what is normal in it, and its diagnoses use that."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from diagnostics import anomaly_training, queue, services
from diagnostics.anomaly_training import CannotLearn
from diagnostics.models import DiagnosticRun, LearnedNormal
from diagnostics.services import anomaly
from observer_client.packed import pack
from observer_client.record import Ending, Epoch, Gradients, Loss
from sessions.models import SessionStatus, TrainSession, TrainStep
from sessions.services import finish

EPOCHS = 13


def blob(number, level):
    loss = level + 2.0 / (number + 1) + 0.01 * ((number * 7 + int(100 * level)) % 5)
    record = Epoch(
        epoch=number,
        loss=Loss(train_mean=loss, train_std=0.1 * loss, train_max=1.3 * loss, n_batches=20, val={"val_loss": loss}),
        gradients=Gradients(norm_mean=0.5 + 0.02 * (number % 3), norm_max=0.7 + 0.01 * level),
    )
    return pack(record)


@pytest.fixture
def healthy(project):
    """``healthy(20)`` are so many finished sessions of Alice's project that were found healthy."""

    def made(count, **fields):
        states = {"status": SessionStatus.FINISHED, "health_score": 95, "epoch_count": EPOCHS} | fields
        sessions = TrainSession.objects.bulk_create(
            TrainSession(project=project, key=uuid4(), name=f"run {at}", **states) for at in range(count)
        )
        TrainStep.objects.bulk_create(
            TrainStep(session=session, epoch=number, payload="{}", packed=blob(number, 0.1 + 0.03 * at), digest="")
            for at, session in enumerate(sessions)
            for number in range(EPOCHS)
        )
        return sessions

    return made


def test_a_new_project_is_judged_by_what_is_normal_in_general(session):
    assert services.normal_of(session.project) is None
    run = services.diagnose_now(session)
    assert run.summary["anomaly"]["model"]["name"] == "generic"


def test_a_project_is_judged_by_what_it_has_learned(session, healthy):
    healthy(20)
    made = services.learn_normal(session.project)
    assert (made.version, made.sessions, made.healthy) == (1, 20, 20)
    told = services.diagnose_now(session).summary["anomaly"]["model"]
    assert told == {"name": "project", "version": 1, "trained": made.document["trained"], "sessions": 20}


def test_another_project_has_learned_nothing(healthy, project, charlies_project):
    healthy(20)
    services.learn_normal(project)
    assert services.normal_of(charlies_project) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"status": SessionStatus.CRASHED},
        {"status": SessionStatus.RUNNING},
        {"health_score": 79},
        {"health_score": None},
    ],
    ids=["crashed", "running", "poor score", "not judged"],
)
def test_learns_from_healthy_sessions_only(healthy, project, fields):
    healthy(19)
    healthy(5, **fields)
    assert not anomaly.is_due(project)
    with pytest.raises(CannotLearn, match="19 healthy runs"):
        services.learn_normal(project)


@pytest.mark.parametrize(("count", "due"), [(4, False), (5, True)])
def test_learns_anew_when_a_quarter_more_has_come_in(healthy, project, count, due):
    healthy(20)
    services.learn_if_due(project.pk)
    healthy(count)
    services.learn_if_due(project.pk)
    versions = list(LearnedNormal.objects.values_list("version", flat=True))
    assert versions == ([2, 1] if due else [1])


def test_too_few_epochs_are_no_failure(healthy, project):
    TrainStep.objects.filter(session__in=healthy(20), epoch__gt=2).delete()
    assert services.learn_if_due(project.pk) is None
    assert not LearnedNormal.objects.exists()


def test_keeps_the_last_versions(healthy, project):
    healthy(20)
    for _ in range(anomaly.KEPT + 2):
        services.learn_normal(project)
    assert [each.version for each in LearnedNormal.objects.order_by("version")] == [3, 4, 5, 6, 7]


@pytest.fixture
def told(monkeypatch):
    heard = []
    monkeypatch.setattr(queue, "tell", lambda task, number, **options: heard.append((task, number)))
    return heard


def judged(session):
    services.work(DiagnosticRun.objects.get(session=session, trigger="automatic").pk)


def test_the_verdict_that_was_missing_asks_a_worker_to_learn(session, healthy, told):
    healthy(20)
    finish(session, Ending())
    judged(session)
    assert (queue.LEARN_TASK, session.project_id) in told


def test_a_running_session_asks_nobody(session, healthy, told):
    healthy(20)
    judged(session)
    assert queue.LEARN_TASK not in dict(told)


def test_a_worker_learns(session, healthy, work_at_once):
    healthy(20)
    queue.tell(queue.LEARN_TASK, session.project_id)
    assert LearnedNormal.objects.get().sessions == 20


def test_nothing_is_learned_for_a_project_that_is_gone(db):
    assert services.learn_if_due(987_654) is None


def test_without_scikit_learn_nobody_is_asked(healthy, project, monkeypatch):
    healthy(20)
    monkeypatch.setattr(anomaly, "can_learn", lambda: False)
    assert not anomaly.is_due(project)


@pytest.mark.parametrize("document", [{}, {"format": 0}, [], "x"], ids=str)
def test_a_damaged_model_leaves_judging_to_the_generic_one(session, document, caplog):
    LearnedNormal.objects.create(
        project=session.project, version=1, sessions=20, epochs=200, healthy=20, document=document
    )
    assert services.diagnose_now(session).summary["anomaly"]["model"]["name"] == "generic"
    assert "cannot be used" in caplog.text


def test_command_learns(healthy, project, capsys):
    healthy(20)
    call_command("learn", project=project.name)
    assert capsys.readouterr().out == f"{project.name}: version 1, learned from 20 sessions with 200 epochs\n"


def test_command_goes_on_after_a_project_without_sessions(healthy, project, charlies_project, capsys):
    healthy(20)
    call_command("learn", all=True)
    said = capsys.readouterr()
    assert "version 1" in said.out and f"{charlies_project.name}: 0 healthy runs" in said.err


def test_command_names_a_project_that_does_not_exist(db):
    with pytest.raises(CommandError, match="no project Nowhere"):
        call_command("learn", project="Nowhere")


def test_command_says_what_to_install(healthy, project, monkeypatch, capsys):
    healthy(20)
    monkeypatch.setattr(anomaly_training, "can_learn", lambda: False)
    with pytest.raises(CommandError, match="Nothing was learned"):
        call_command("learn", project=str(project.pk))
    assert "pip install mldiag[anomaly]" in capsys.readouterr().err


def test_a_stored_model_is_plain_json(healthy, project):
    healthy(20)
    services.learn_normal(project)
    assert json.loads(json.dumps(LearnedNormal.objects.get().document, allow_nan=False))["format"] == 1
