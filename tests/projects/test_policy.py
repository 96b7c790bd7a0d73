"""A project's policy over HTTP: who may read and change it, what is refused, and the history."""

from __future__ import annotations

import json

import pytest

from projects.models import KeyKind, PolicyChange
from projects.services import amend_policy, project_policy

DEFAULTS = {"profile": "robust", "thresholds": {}, "disable": [], "severity": {}, "baseline": ""}
OWN = {
    "profile": "guide",
    "thresholds": {"loss_explosion_ratio": 3.0, "overfitting_epochs": 4},
    "disable": ["memory", "slow-epoch"],
    "severity": {"overfitting": "critical"},
    "baseline": "mnist_cnn",
}


@pytest.fixture
def address(project):
    return f"/api/projects/{project.pk}/policy"


@pytest.fixture
def alices(as_user, alice):
    return as_user(alice)


def history(api, address):
    rows = api.get(f"{address}/changes").json()["results"]
    return [(row["setting"], row["old"], row["new"], row["by"]) for row in rows]


def test_a_new_project_has_the_defaults(alices, address):
    assert alices.get(address).json() == DEFAULTS


def test_put_sets_all_of_it(alices, address, project):
    answer = alices.put(address, OWN, format="json")
    assert (answer.status_code, answer.json()) == (200, OWN)
    assert alices.get(address).json() == OWN
    project.refresh_from_db()
    assert project_policy(project).thresholds.loss_explosion_ratio == 3


def test_put_resets_what_it_does_not_name(alices, address):
    alices.put(address, OWN, format="json")
    alices.put(address, {"profile": "guide"}, format="json")
    assert alices.get(address).json() == DEFAULTS | {"profile": "guide"}


def test_patch_merges(alices, address):
    alices.put(address, OWN, format="json")
    changes = {"thresholds": {"slow_epoch_ratio": 2, "overfitting_epochs": None}, "severity": {"overfitting": None}}
    answer = alices.patch(address, changes, format="json").json()
    assert answer["thresholds"] == {"loss_explosion_ratio": 3.0, "slow_epoch_ratio": 2.0}
    assert (answer["severity"], answer["disable"]) == ({}, OWN["disable"])


@pytest.mark.parametrize("name", DEFAULTS)
def test_patch_with_null_resets_one_setting(alices, address, name):
    alices.put(address, OWN, format="json")
    assert alices.patch(address, {name: None}, format="json").json() == OWN | {name: DEFAULTS[name]}


def test_delete_resets_everything_but_the_history(alices, address):
    alices.put(address, {"profile": "guide"}, format="json")
    assert alices.delete(address).status_code == 204
    assert alices.get(address).json() == DEFAULTS
    assert history(alices, address) == [
        ("profile", "guide", "robust", "alice"),
        ("profile", "robust", "guide", "alice"),
    ]


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        ({"thresholds": {"loss_explosion": 3}}, "$.thresholds.loss_explosion", "did you mean loss_explosion_ratio?"),
        ({"thresholds": {"loss_explosion_ratio": "x"}}, "$.thresholds.loss_explosion_ratio", "must be a number"),
        ({"thresholds": {"throughput_drop_pct": 20}}, "$.thresholds.throughput_drop_pct", "between 0 and 1"),
        ({"thresholds": [1]}, "$.thresholds", "must be an object"),
        ({"disable": ["slow"]}, "$.disable[0]", "no check or category"),
        ({"severity": {"overfitting": "bad"}}, "$.severity.overfitting", "unknown severity"),
        ({"profile": "strict"}, "$.profile", "unknown profile"),
        ({"baseline": "mnist"}, "$.baseline", "did you mean mnist_cnn?"),
        ({"baselines": {}}, "$.baselines", "address of their own"),
        ({"limits": {}}, "$.limits", "unknown setting"),
        ([1], "$", "must be an object"),
    ],
    ids=json.dumps,
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(alices, address, method, body, path, said):
    answer = getattr(alices, method)(address, body, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, path)
    assert said in answer.json()["detail"]
    assert alices.get(address).json() == DEFAULTS
    assert not PolicyChange.objects.exists()


def test_nan_is_refused(alices, address):
    answer = alices.put(address, '{"thresholds": {"slow_epoch_ratio": NaN}}', content_type="application/json")
    assert (answer.status_code, answer.json()["path"]) == (400, "$.thresholds.slow_epoch_ratio")


@pytest.mark.parametrize(("who", "code"), [("alice", 200), ("bob", 200), ("charlie", 404)])
def test_members_read_it(as_user, address, who, code, request):
    reader = as_user(request.getfixturevalue(who))
    assert (reader.get(address).status_code, reader.get(f"{address}/changes").status_code) == (code, code)


@pytest.mark.parametrize(("who", "code"), [("bob", 403), ("charlie", 404)])
@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_only_owners_change_it(as_user, address, who, code, method, request):
    writer = as_user(request.getfixturevalue(who))
    assert getattr(writer, method)(address, {}, format="json").status_code == code


@pytest.mark.parametrize(("kind", "code"), [(KeyKind.FULL, 200), (KeyKind.READ, 403), (KeyKind.INGEST, 403)])
def test_a_key_that_reads_and_writes_changes_it(as_key, address, alices, kind, code):
    assert as_key(kind).patch(address, {"profile": "guide"}, format="json").status_code == code
    assert [by[:7] for *_, by in history(alices, address)] == (["key mld"] if code == 200 else [])


def test_in_the_open_mode_somebody_changes_it(api, address, open_mode):
    assert api.patch(address, {"profile": "guide"}, format="json").status_code == 200
    assert PolicyChange.objects.get().by == "somebody on this machine"


def test_the_history_names_each_setting(alices, address):
    alices.put(address, {"thresholds": {"loss_plateau_improvement": 0}, "disable": ["memory"]}, format="json")
    assert sorted(history(alices, address)) == [
        ("disable", None, ["memory"], "alice"),
        ("thresholds.loss_plateau_improvement", None, 0.0, "alice"),
    ]


def test_the_same_again_is_no_change(alices, address):
    for _ in range(2):
        alices.put(address, OWN, format="json")
    assert len(history(alices, address)) == 6


def test_the_history_outlives_the_account(alices, address, alice, project):
    alices.patch(address, {"profile": "guide"}, format="json")
    alice.delete()
    assert PolicyChange.objects.get().by == "alice"


def test_two_changes_at_once_are_both_kept(project, alice):
    stale = type(project).objects.get(pk=project.pk)
    amend_policy(project, {"thresholds": {"slow_epoch_ratio": 2}}, user=alice)
    amend_policy(stale, {"thresholds": {"high_cpu_percent": 80}}, user=alice)
    project.refresh_from_db()
    assert project.thresholds == {"high_cpu_percent": 80.0, "slow_epoch_ratio": 2.0}
