"""The page on which a project says how it judges."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from diagnostics.engine import CHECKS, DiagnosticThresholds
from projects.models import Baseline, PolicyChange, Project
from projects.services import amend_policy, declare_baseline
from tests.pages.rows import MARKUP


@pytest.fixture
def address(project):
    return f"/projects/{project.pk}/policy"


@pytest.fixture
def save(as_alice, address):
    def post(**fields):
        body = {"profile": "robust", **{name.replace("__", "-"): value for name, value in fields.items()}}
        return as_alice.post(address, body)

    return post


def test_shows_every_threshold_and_check(text, address):
    page = text(address)
    assert all(f'name="limit-{name}"' in page for name in DiagnosticThresholds.__dataclass_fields__)
    assert all(f'name="check-{check_id}"' in page for check_id in CHECKS)
    assert "Nobody has changed anything yet" in page


def test_saves_and_shows_what_was_saved(save, text, address, project):
    saved = save(
        profile="guide",
        baseline="mnist_cnn",
        **{"limit__loss_explosion_ratio": "3", "check__overfitting": "critical", "check__slow-epoch": "off"},
        category__memory="on",
    )
    assert saved.status_code == 302
    project.refresh_from_db()
    assert (project.profile, project.baseline) == ("guide", "mnist_cnn")
    assert project.thresholds == {"loss_explosion_ratio": 3.0}
    assert (project.severities, project.disabled_checks) == ({"overfitting": "critical"}, ["memory", "slow-epoch"])
    assert re.search(r'name="limit-loss_explosion_ratio" value="3.0"', text(address))


def test_an_empty_form_is_the_defaults(save, project):
    amend_policy(project, {"profile": "guide", "thresholds": {"slow_epoch_ratio": 9}})
    save()
    project.refresh_from_db()
    assert (project.profile, project.thresholds) == ("robust", {})


def test_saving_what_is_shown_changes_nothing(as_alice, address, project):
    amend_policy(project, {"thresholds": {"vanishing_gradient_threshold": 1e-9}, "disable": ["memory", "slow-epoch"]})
    page = as_alice.get(address).content.decode()
    form = as_alice.get(address).context["form"]
    as_alice.post(address, {name: value for name, value in form.initial.items() if value})
    assert "1e-09" in page
    assert PolicyChange.objects.count() == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("limit__loss_explosion_ratio", "much", "Enter a number"),
        ("limit__throughput_drop_pct", "20", "less than or equal to 1"),
        ("limit__overfitting_epochs", "0", "greater than or equal to 1"),
        ("limit__overfitting_epochs", "1.5", "Enter a whole number"),
        ("limit__slow_epoch_ratio", "nan", "Enter a number"),
        ("check__overfitting", "fatal", "Select a valid choice"),
        ("profile", "strict", "Select a valid choice"),
        ("baseline", "nothing", "Select a valid choice"),
    ],
)
def test_what_makes_no_sense_is_said_beside_it(save, project, field, value, said):
    answer = save(**{field: value, "limit__high_cpu_percent": "80"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert said in page and "Nothing was saved" in page
    assert 'value="80"' in page, "what else was entered is not lost"
    assert not PolicyChange.objects.exists()


def test_one_field_is_reset_by_its_button(save, project):
    amend_policy(project, {"thresholds": {"slow_epoch_ratio": 9, "high_cpu_percent": 80}})
    save(reset="slow_epoch_ratio", limit__slow_epoch_ratio="9", limit__high_cpu_percent="80")
    project.refresh_from_db()
    assert project.thresholds == {"high_cpu_percent": 80.0}


def test_everything_is_reset_at_once(save, project):
    amend_policy(project, {"profile": "guide"})
    save(profile="guide", defaults="yes")
    project.refresh_from_db()
    assert project.profile == "robust"


def test_enter_saves_and_resets_nothing(text, address, project):
    amend_policy(project, {"thresholds": {"slow_epoch_ratio": 9}})
    form = text(address).partition('class="policy"')[2]
    first = re.search(r"<button[^>]*>", form)[0]
    assert 'class="primary"' in first and "name=" not in first


def test_a_member_looks_and_cannot_change(bob, address):
    client = Client()
    client.force_login(bob)
    page = client.get(address).content.decode()
    assert "Only an owner" in page and 'class="primary"' not in page
    assert re.search(r'name="limit-loss_explosion_ratio"[^>]*disabled', page)
    assert client.post(address, {"profile": "guide"}).status_code == 403
    assert client.post(f"{address}/baselines", {"name": "x", "value": 1}).status_code == 403
    assert not PolicyChange.objects.exists()


@pytest.mark.parametrize("path", ["", "/baselines"])
def test_strangers_find_nothing(as_charlie, address, path):
    assert as_charlie.post(address + path, {"profile": "guide"}).status_code == 404


def test_the_history_says_who_and_what(text, address, project, alice):
    amend_policy(project, {"thresholds": {"slow_epoch_ratio": 9}, "disable": ["memory"]}, user=alice)
    page = text(address)
    assert "thresholds.slow_epoch_ratio" in page
    assert "<td>default</td> <td>9</td>" in page and "<td>memory</td>" in page and "<td>alice</td>" in page


def test_the_history_has_pages(text, address, project):
    for ratio in range(1, 60):
        amend_policy(project, {"thresholds": {"slow_epoch_ratio": ratio}})
    assert "Page 1 of 3" in text(address)
    assert "Page 3 of 3" in text(f"{address}?page=3")


def test_a_stored_policy_without_sense_is_said(text, address, project):
    Project.objects.filter(pk=project.pk).update(thresholds={"of_old": 1}, disabled_checks=5, severities=[])
    assert "thresholds.of_old: unknown threshold" in text(address)


def test_a_baseline_is_declared_and_forgotten(as_alice, text, address, project):
    fields = {"name": "digits", "metric": "val_loss", "value": "0.2", "epochs": "5", "source": MARKUP}
    assert as_alice.post(f"{address}/baselines", fields).status_code == 302
    assert "<td>val_loss, lower is better</td>" in text(address)
    assert MARKUP not in text(address)
    as_alice.post(f"{address}/baselines", {"drop": Baseline.objects.get().pk})
    assert not Baseline.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"value": ""}, "required"), ({"value": "0"}, "must not be 0"), ({"name": "a/b"}, "without slashes")],
)
def test_a_baseline_without_sense_is_refused(as_alice, address, fields, said):
    answer = as_alice.post(f"{address}/baselines", {"name": "digits", "metric": "accuracy", "value": "1", **fields})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Baseline.objects.exists()


@pytest.mark.parametrize("drop", ["0", "x", "9" * 30, "²"])
def test_forgetting_what_is_not_there(as_alice, address, drop):
    assert as_alice.post(f"{address}/baselines", {"drop": drop}).status_code == 404


def test_a_baseline_of_another_project_is_kept(as_alice, address, charlies_project):
    made, _ = declare_baseline(charlies_project, "cats", {"value": 1})
    assert as_alice.post(f"{address}/baselines", {"drop": made.pk}).status_code == 404
    assert Baseline.objects.exists()


def test_costs_the_same_for_many(as_alice, address, project):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            assert as_alice.get(address).status_code == 200
        return len(seen)

    declare_baseline(project, "first", {"value": 1})
    few = cost()
    for number in range(30):
        declare_baseline(project, f"task {number}", {"value": 1})
    assert cost() == few
