"""How a project's policy reaches its diagnoses, and what a diagnosis says of it."""

from __future__ import annotations

import pytest

from diagnostics import services
from projects.services import amend_policy, declare_baseline
from tests.diagnostics.conftest import explode


@pytest.fixture
def bad_session(session):
    explode(session)
    return session


def judged(session, **asked):
    run = services.request_diagnosis(session, **asked)
    services.work(run.pk)
    run.refresh_from_db()
    return run


def severity_of(run, check_id):
    return run.issues.get(check_id=check_id).severity


def test_a_severity_of_the_project_counts(bad_session):
    before = judged(bad_session)
    amend_policy(bad_session.project, {"severity": {"loss-explosion": "info"}})
    after = judged(bad_session)
    assert (severity_of(before, "loss-explosion"), severity_of(after, "loss-explosion")) == ("critical", "info")
    assert after.health_score > before.health_score


def test_a_stored_run_keeps_the_policy_it_was_judged_by(bad_session):
    amend_policy(bad_session.project, {"thresholds": {"loss_explosion_ratio": 3}, "disable": ["memory"]})
    old = judged(bad_session)
    amend_policy(bad_session.project, {"thresholds": {"loss_explosion_ratio": 4}, "disable": []})
    new = judged(bad_session)
    old.refresh_from_db()
    said = [(run.summary["policy"]["thresholds"], run.summary["policy"]["disable"]) for run in (old, new)]
    assert said == [({"loss_explosion_ratio": 3.0}, ["memory"]), ({"loss_explosion_ratio": 4.0}, [])]


def test_a_call_goes_before_the_project(bad_session):
    amend_policy(bad_session.project, {"thresholds": {"slow_epoch_ratio": 9}, "disable": ["loss-explosion"]})
    run = judged(bad_session, disable=[], severity={"loss-explosion": "warning"}, thresholds={"high_cpu_percent": 5})
    assert severity_of(run, "loss-explosion") == "warning"
    assert run.summary["policy"]["thresholds"] == {"slow_epoch_ratio": 9.0, "high_cpu_percent": 5.0}


def test_what_a_call_asks_for_is_not_the_verdict(bad_session):
    judged(bad_session)
    bad_session.refresh_from_db()
    before = bad_session.health_score
    judged(bad_session, severity={"loss-explosion": "info"})
    bad_session.refresh_from_db()
    assert bad_session.health_score == before


@pytest.mark.parametrize(
    ("hyperparameters", "tags", "name"),
    [({}, [], None), ({"task": "digits"}, [], "digits"), ({}, ["task:digits"], "digits")],
    ids=["no task", "a hyperparameter", "a tag"],
)
def test_a_session_is_compared_with_its_task(session, hyperparameters, tags, name):
    declare_baseline(session.project, "digits", {"value": 0.1, "metric": "val_loss"})
    type(session).objects.update(hyperparameters=hyperparameters, tags=tags)
    session.refresh_from_db()
    baseline = judged(session).summary["policy"]["baseline"]
    assert (baseline and baseline["name"]) == name


def test_below_the_project_s_baseline(session):
    declare_baseline(session.project, "digits", {"value": 0.1, "metric": "val_loss", "epochs": 3})
    amend_policy(session.project, {"baseline": "digits"})
    assert severity_of(judged(session), "below-baseline") == "warning"
