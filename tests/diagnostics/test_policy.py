"""How a project's policy reaches its diagnoses, and what a diagnosis says of it."""

from __future__ import annotations

import pytest
from django.test import Client

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


def pinned(client, session, **body):
    return client.post(f"/diagnostics/sessions/{session.pk}/baseline", body, format="json")


def test_a_session_s_best_result_is_pinned(session, as_user, alice):
    answer = pinned(as_user(alice), session, name="digits", metric="val_loss")
    assert answer.status_code == 200
    found = session.project.baselines.get()
    assert (found.name, found.value, found.epochs, found.direction) == ("digits", pytest.approx(1.1 / 3), 3, "lower")
    assert found.source == f"session {session.pk}: first try"
    assert session.project.policy_changes.get().by == "alice"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "x"}, "$.metric"),
        ({"name": "x", "metric": "bleu"}, "$.metric"),
        ({"name": "", "metric": "val_loss"}, "$.name"),
        ({"metric": "val_loss"}, "$.name"),
        ({"name": "a/b", "metric": "val_loss"}, "$.name"),
    ],
)
def test_what_cannot_be_pinned_is_refused(session, as_user, alice, body, path):
    answer = pinned(as_user(alice), session, **body)
    assert (answer.status_code, answer.json()["path"]) == (400, path)
    assert not session.project.baselines.exists()


@pytest.mark.parametrize(("who", "code"), [("bob", 403), ("charlie", 404)])
def test_only_owners_pin(session, as_user, who, code, request):
    person = request.getfixturevalue(who)
    assert pinned(as_user(person), session, name="x", metric="val_loss").status_code == code
    client = Client()
    client.force_login(person)
    assert client.post(f"/sessions/{session.pk}/baseline", {"name": "x", "metric": "val_loss"}).status_code == code


def test_the_page_pins_and_says_what(session, alice):
    client = Client()
    client.force_login(alice)
    page = client.post(f"/sessions/{session.pk}/baseline", {"name": "digits", "metric": "loss"}, follow=True).text
    assert "is the baseline digits now" in page and "session" in page
    refused = client.post(f"/sessions/{session.pk}/baseline", {"name": "digits", "metric": "bleu"}, follow=True).text
    assert "nothing to pin" in refused
