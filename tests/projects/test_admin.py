from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.authentication import find_key
from projects.models import ApiKey, Baseline, KeyKind, Membership, PolicyChange, Project
from projects.services import amend_policy, declare_baseline, issue_key

PROJECTS = "/admin/projects/project/"
KEYS = "/admin/projects/apikey/"
BASELINES = "/admin/projects/baseline/"


def run(client, address, action, row):
    return client.post(address, {"action": action, "_selected_action": [row.pk]}, follow=True).content.decode()


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_is_made_and_shown_once(admin_client, project, kind):
    page = run(admin_client, PROJECTS, f"make_{kind.name.lower()}_key", project)
    made = ApiKey.objects.get()
    text = page[page.index(made.prefix) :].split("<")[0].strip()
    assert (find_key(text), made.kind) == (made, kind)
    assert text not in admin_client.get(PROJECTS).content.decode()
    assert text not in admin_client.get(f"{PROJECTS}{project.pk}/change/").content.decode()


def test_a_key_is_revoked(admin_client, project):
    key, text = issue_key(project, KeyKind.READ)
    run(admin_client, KEYS, "revoke", key)
    assert find_key(text) is None


def test_a_project_shows_members_and_keys(admin_client, project):
    key, _ = issue_key(project, KeyKind.READ)
    page = admin_client.get(f"{PROJECTS}{project.pk}/change/").content.decode()
    assert "alice" in page
    assert key.prefix in page
    assert key.digest not in page


def test_no_key_is_made_by_hand(admin_client):
    assert admin_client.get(f"{KEYS}add/").status_code == 403


@pytest.mark.parametrize("address", [PROJECTS, KEYS, BASELINES])
def test_a_list_costs_the_same_for_many(admin_client, project, alice, address):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            assert admin_client.get(address).status_code == 200
        return len(seen)

    issue_key(project, KeyKind.READ)
    declare_baseline(project, "digits", {"value": 0.9})
    few = cost()
    for number in range(60):
        other = Project.objects.create(name=f"Project {number}")
        Membership.objects.create(project=other, user=alice)
        issue_key(other, KeyKind.READ)
        declare_baseline(other, "digits", {"value": 0.9})
    assert cost() == few


POLICY = {"profile": "robust", "thresholds": "{}", "disabled_checks": "[]", "severities": "{}", "baseline": ""}


def save_project(client, project, **fields):
    counts = {f"{name}-{each}_FORMS": 0 for name in ("memberships", "api_keys") for each in ("TOTAL", "INITIAL")}
    body = {"name": project.name, "description": "", **POLICY, **counts, **fields}
    answer = client.post(f"{PROJECTS}{project.pk}/change/", body)
    project.refresh_from_db()
    return answer


def test_a_policy_is_saved_and_written_down(admin_client, project):
    saved = save_project(admin_client, project, thresholds='{"loss_explosion_ratio": 3}', baseline="mnist_cnn")
    assert saved.status_code == 302
    assert (project.thresholds, project.baseline) == ({"loss_explosion_ratio": 3.0}, "mnist_cnn")
    changes = set(PolicyChange.objects.values_list("setting", "by"))
    assert changes == {("thresholds.loss_explosion_ratio", "admin"), ("baseline", "admin")}
    assert "admin: baseline from None to mnist_cnn" in admin_client.get(f"{PROJECTS}{project.pk}/change/").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"thresholds": '{"loss_explosion": 3}'}, "did you mean loss_explosion_ratio"),
        ({"thresholds": "[1]"}, "must be an object"),
        ({"thresholds": "{"}, "Enter a valid JSON"),
        ({"disabled_checks": '["slow"]'}, "no check or category"),
        ({"severities": '{"overfitting": "bad"}'}, "unknown severity"),
        ({"baseline": "nothing"}, "there is no baseline"),
    ],
    ids=str,
)
def test_a_policy_without_sense_is_refused(admin_client, project, fields, said):
    answer = save_project(admin_client, project, **fields)
    assert answer.status_code == 200
    assert said in answer.text
    assert not PolicyChange.objects.exists()


def test_a_project_is_made_with_a_policy(admin_client):
    counts = {f"{name}-{each}_FORMS": 0 for name in ("memberships", "api_keys") for each in ("TOTAL", "INITIAL")}
    body = {"name": "New", **POLICY, "severities": '{"overfitting": "info"}', **counts}
    assert admin_client.post(f"{PROJECTS}add/", body).status_code == 302
    assert Project.objects.get(name="New").policy_changes.get().setting == "severity.overfitting"


def test_a_baseline_is_declared_changed_and_forgotten(admin_client, project):
    body = {"project": project.pk, "name": "digits", "metric": "val_loss", "value": 0.2, "direction": ""}
    assert admin_client.post(f"{BASELINES}add/", body).status_code == 302
    made = Baseline.objects.get()
    assert made.direction == "lower"
    assert admin_client.post(f"{BASELINES}{made.pk}/change/", body | {"value": 0.1}).status_code == 302
    assert admin_client.post(f"{BASELINES}{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Baseline.objects.exists()
    values = list(PolicyChange.objects.filter(setting="baselines.digits.value").values_list("old", "new"))
    assert values == [(0.2, 0.1)]


@pytest.mark.parametrize(("field", "value"), [("value", 0), ("value", "x"), ("epochs", 0), ("direction", "up")])
def test_a_baseline_without_sense_is_refused(admin_client, project, field, value):
    body = {"project": project.pk, "name": "digits", "metric": "accuracy", "value": 0.9, "direction": "", field: value}
    assert admin_client.post(f"{BASELINES}add/", body).status_code == 200
    assert not Baseline.objects.exists()


def test_a_baseline_in_use_is_kept(admin_client, project):
    made, _ = declare_baseline(project, "digits", {"value": 0.9})
    amend_policy(project, {"baseline": "digits"})
    page = run(admin_client, BASELINES, "delete_selected", made)
    admin_client.post(BASELINES, {"action": "delete_selected", "_selected_action": [made.pk], "post": "yes"})
    assert "digits" in page
    assert Baseline.objects.exists()


def test_a_project_with_a_history_can_be_deleted(admin_client, project):
    amend_policy(project, {"profile": "guide"})
    assert admin_client.post(f"{PROJECTS}{project.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Project.objects.filter(pk=project.pk).exists()
