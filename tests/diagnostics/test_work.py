"""A diagnosis from order to answer: what it reads, what it writes, what it leaves alone."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils.timezone import now

from diagnostics import queue, services
from diagnostics.models import Alert, DiagnosticRun, FoundIssue, State, Trigger
from diagnostics.services import orders
from observer_client.record import Ending
from sessions.models import TrainSession
from sessions.services import finish, store_epochs, store_logs
from tests.diagnostics.conftest import explode


@pytest.fixture
def bad_session(session):
    explode(session)
    return session


def automatic(session):
    return DiagnosticRun.objects.get(session=session, trigger=Trigger.AUTOMATIC)


def test_stored_epochs_ask_for_a_live_check(session):
    assert (automatic(session).state, automatic(session).due) == (State.QUEUED, 1)


def test_duplicate_epochs_are_no_news(session):
    store_epochs(session, [step.payload.encode() for step in session.steps.all()])
    assert automatic(session).due == 1


def test_logs_and_the_end_are_news(session):
    store_logs(session, [json.dumps({"msg": "CUDA out of memory", "level": "ERROR"}).encode()])
    finish(session, Ending())
    assert automatic(session).due == 3


def test_work_stores_answer_and_verdict(bad_session):
    run = automatic(bad_session)
    assert services.work(run.pk)
    run.refresh_from_db()
    bad_session.refresh_from_db()
    assert (run.state, run.attempts, run.epoch_count, run.arch_type) == (State.DONE, 1, 6, "cnn")
    assert run.issues.filter(suppressed="").count() == run.issue_count > 0
    assert bad_session.health_score == run.health_score
    assert bad_session.critical_count == run.summary["severity_breakdown"]["critical"] == 1
    assert bad_session.diagnosed == run.started


def test_finished_run_is_not_worked_again(bad_session):
    assert services.work(automatic(bad_session).pk)
    assert not services.work(automatic(bad_session).pk)


def test_second_diagnosis_replaces_the_findings_of_the_first(bad_session):
    services.work(automatic(bad_session).pk)
    first = set(FoundIssue.objects.values_list("pk", flat=True))
    count = len(first)
    services.mark_due(bad_session)
    services.work(automatic(bad_session).pk)
    second = set(FoundIssue.objects.values_list("pk", flat=True))
    assert len(second) == count
    assert not first & second


def test_lost_claim_leaves_no_findings(bad_session, monkeypatch):
    judge = orders.judge

    def judge_too_long(*args):
        DiagnosticRun.objects.update(state=State.QUEUED, claim=None)
        return judge(*args)

    monkeypatch.setattr(orders, "judge", judge_too_long)
    services.work(automatic(bad_session).pk)
    assert not FoundIssue.objects.exists()
    bad_session.refresh_from_db()
    assert (bad_session.health_score, automatic(bad_session).state) == (None, State.QUEUED)


def test_lost_claim_makes_no_alert(bad_session, monkeypatch):
    judge = orders.judge

    def judge_too_long(*args):
        DiagnosticRun.objects.update(claim=uuid4())
        return judge(*args)

    monkeypatch.setattr(orders, "judge", judge_too_long)
    services.work(automatic(bad_session).pk)
    assert not Alert.objects.exists()


def test_alerts_come_before_the_rest_and_once_if_the_worker_dies_between(bad_session, monkeypatch):
    def die(*args):
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patched:
        patched.setattr(orders, "store", die)
        with pytest.raises(OperationalError):
            services.work(automatic(bad_session).pk)
    told = list(Alert.objects.values_list("pk", "check_id"))
    assert told
    assert not FoundIssue.objects.exists()
    queue.resume()
    assert services.work(automatic(bad_session).pk)
    assert list(Alert.objects.values_list("pk", "check_id")) == told
    assert {check_id for _, check_id in told} <= set(FoundIssue.objects.values_list("check_id", flat=True))


def test_what_newer_data_have_overruled_makes_no_alert(bad_session, monkeypatch):
    judge = orders.judge

    def judge_while_another_is_faster(*args):
        TrainSession.objects.update(diagnosed=now() + timedelta(hours=1))
        return judge(*args)

    monkeypatch.setattr(orders, "judge", judge_while_another_is_faster)
    assert services.work(automatic(bad_session).pk)
    assert not Alert.objects.exists()


def test_hundred_epochs_during_a_diagnosis_are_one_more(session, monkeypatch):
    judge, judged = orders.judge, []

    def judge_while_epochs_arrive(*args):
        if not judged:
            for epoch in range(10, 110):
                store_epochs(session, [json.dumps({"epoch": epoch, "loss": {"train_mean": 1.0}}).encode()])
        judged.append(judge(*args))
        return judged[-1]

    monkeypatch.setattr(orders, "judge", judge_while_epochs_arrive)
    while run_ids := queue.waiting():
        services.work(run_ids[0])
    assert len(judged) == 2
    assert automatic(session).epoch_count == 103


def test_check_that_crashes_fails_the_run_with_its_error(bad_session, monkeypatch, caplog):
    def crash(*args):
        raise ZeroDivisionError("a check divided by zero\0")

    monkeypatch.setattr(orders, "judge", crash)
    services.work(automatic(bad_session).pk)
    run = automatic(bad_session)
    assert (run.state, run.attempts) == (State.FAILED, 1)
    assert run.error.startswith("ZeroDivisionError: a check divided by zero")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_lost_database_leaves_the_run_to_the_sweeper(bad_session, monkeypatch):
    def lose(*args):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(orders, "judge", lose)
    with pytest.raises(OperationalError):
        services.work(automatic(bad_session).pk)
    assert automatic(bad_session).state == State.RUNNING


def test_projects_thresholds_decide(bad_session):
    bad_session.project.thresholds = {"loss_explosion_ratio": 1e6}
    bad_session.project.save()
    run = services.diagnose_now(bad_session)
    assert "loss-explosion" not in run.issues.values_list("check_id", flat=True)
    assert run.thresholds == {"loss_explosion_ratio": 1e6}


def test_projects_profile_decides_and_the_call_overrides(bad_session):
    bad_session.project.profile = "guide"
    bad_session.project.save()
    assert services.diagnose_now(bad_session).summary["profile"] == "guide"
    asked = services.request_diagnosis(bad_session, profile="robust")
    services.work(asked.pk)
    asked.refresh_from_db()
    assert asked.summary["profile"] == "robust"


def test_switched_off_check_finds_nothing(bad_session):
    bad_session.project.disabled_checks = ["loss-explosion"]
    bad_session.project.save()
    assert "loss-explosion" not in services.diagnose_now(bad_session).issues.values_list("check_id", flat=True)


def test_senseless_thresholds_of_a_project_are_named(bad_session):
    bad_session.project.thresholds = {"loss_explosion": 2}
    bad_session.project.save()
    run = services.diagnose_now(bad_session)
    assert run.state == State.FAILED
    assert "unknown threshold: loss_explosion" in run.error


def test_dropped_project_threshold_is_forgotten(bad_session):
    project = bad_session.project
    for thresholds in ({"loss_explosion_ratio": 1e6}, {}):
        project.thresholds = thresholds
        project.save()
        services.mark_due(bad_session)
        services.work(automatic(bad_session).pk)
    assert "loss-explosion" in automatic(bad_session).issues.values_list("check_id", flat=True)


def test_experiment_does_not_become_the_verdict(bad_session):
    services.diagnose_now(bad_session)
    lenient = services.request_diagnosis(bad_session, thresholds={"loss_explosion_ratio": 1e6})
    services.work(lenient.pk)
    bad_session.refresh_from_db()
    lenient.refresh_from_db()
    assert lenient.health_score > bad_session.health_score


def test_verdict_of_older_data_does_not_replace_a_newer_one(bad_session):
    old = queue.claim(automatic(bad_session).pk)
    services.diagnose_now(bad_session)
    TrainSession.objects.update(health_score=42)
    policy = orders.policy_of(old)
    assert orders.store(old, orders.judge(bad_session, policy), policy)
    bad_session.refresh_from_db()
    assert bad_session.health_score == 42


def test_session_without_epochs_is_judged_by_its_log(empty_session):
    store_logs(empty_session, [json.dumps({"msg": "CUDA out of memory", "level": "ERROR"}).encode()])
    run = services.diagnose_now(empty_session)
    assert (run.state, run.health_score) == (State.DONE, None)
    assert list(run.issues.values_list("check_id", flat=True)) == ["error-logs"]


@pytest.mark.parametrize(("config", "skipped"), [({}, True), ({"capture_logs": True}, False)])
def test_logs_that_nobody_captured_are_skipped(session, config, skipped):
    TrainSession.objects.filter(pk=session.pk).update(config=config)
    run = services.diagnose_now(TrainSession.objects.get(pk=session.pk))
    assert ("error-logs" in run.summary["skipped_checks"]) is skipped


def test_nan_and_infinity_are_stored_and_found(session):
    diverged = '{"epoch": 9, "loss": {"train_mean": NaN, "train_max": Infinity, "val": {"val_loss": -Infinity}}}'
    store_epochs(session, [diverged.encode()])
    run = services.diagnose_now(session)
    assert run.state == State.DONE
    assert "nan-in-loss" in run.issues.values_list("check_id", flat=True)


def test_text_that_no_database_takes_is_repaired(session):
    lines = [{"msg": 'Error: \\u0000 \\ud800 "quoted"', "level": "ERROR"}]
    store_logs(session, [json.dumps(line).replace("\\\\u", "\\u").encode() for line in lines])
    assert services.diagnose_now(session).state == State.DONE


def test_enormous_log_costs_a_bounded_amount(session):
    lines = [{"msg": f"step {number}", "seq": number} for number in range(3_000)]
    store_logs(session, [json.dumps(line).encode() for line in lines])
    session.refresh_from_db()
    assert len(services.load_run(session).logs) == 500


def test_diagnosis_costs_constant_queries(bad_session, django_assert_max_num_queries):
    store_epochs(bad_session, [json.dumps({"epoch": epoch}).encode() for epoch in range(100, 300)])
    with django_assert_max_num_queries(39):
        services.work(automatic(bad_session).pk)


def test_sweep_rings_for_what_waits_too_long(session, settings, monkeypatch):
    rung = []
    monkeypatch.setattr(queue, "ring", lambda run_id, **options: rung.append(run_id) or True)
    settings.MLDIAG_SWEEP_SECONDS = 10
    assert services.sweep() == 0
    settings.MLDIAG_SWEEP_SECONDS = 0
    assert services.sweep() == 1
    assert rung == [automatic(session).pk]


def test_sweep_stops_ringing_when_the_broker_is_down(session, settings, monkeypatch):
    settings.MLDIAG_SWEEP_SECONDS = 0
    monkeypatch.setattr(queue, "ring", lambda run_id, **options: False)
    assert services.sweep() == 0


def test_whoever_waits_gives_up_in_time(session):
    run = services.request_diagnosis(session)
    assert services.wait_for(run, 0.05).state == State.QUEUED


def test_command_diagnoses_one_session(bad_session, capsys):
    call_command("diagnose", session=bad_session.pk)
    assert f"{bad_session.pk} first try: " in capsys.readouterr().out
    assert DiagnosticRun.objects.done().count() == 1


def test_command_diagnoses_all_and_names_failures(bad_session, empty_session):
    bad_session.project.thresholds = {"nonsense": 1}
    bad_session.project.save()
    with pytest.raises(CommandError, match="2 failed"):
        call_command("diagnose", "--all")


def test_command_refuses_an_unknown_session(db):
    with pytest.raises(CommandError, match="no session 4711"):
        call_command("diagnose", session=4711)


def test_database_is_the_one_that_was_asked_for(settings):
    asked = "sqlite" if "sqlite" in settings.DATABASES["default"]["ENGINE"] else "postgresql"
    assert connection.vendor == asked


def test_clock_of_a_worker_may_be_behind(bad_session):
    ahead = now() + timedelta(seconds=5)
    TrainSession.objects.filter(pk=bad_session.pk).update(last_seen=ahead)
    services.work(automatic(bad_session).pk)
    bad_session.refresh_from_db()
    assert bad_session.diagnosed == automatic(bad_session).created == ahead


@pytest.mark.django_db(transaction=True)
def test_command_waits_for_a_worker_that_was_faster(bad_session, empty_session, monkeypatch, capsys):
    work = orders.work
    workers = []

    def be_slower(run_id):
        workers.append(threading.Timer(0.1, lambda: (work(run_id), connection.close())))
        workers[-1].start()
        return False

    monkeypatch.setattr(orders, "work", be_slower)
    call_command("diagnose", "--all")
    for worker in workers:
        worker.join()
    assert capsys.readouterr().out.count("/100, ") == 2
