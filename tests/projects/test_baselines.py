"""A project's baselines over HTTP."""

from __future__ import annotations

import pytest

from projects.models import Baseline, PolicyChange
from projects.services import project_policy

DIGITS = {"metric": "accuracy", "value": 0.97, "epochs": 5, "parameters": 20_000, "source": "our paper"}


@pytest.fixture
def address(project):
    return f"/api/projects/{project.pk}/baselines"


@pytest.fixture
def alices(as_user, alice):
    return as_user(alice)


def test_declares_and_replaces(alices, address, project):
    made = alices.put(f"{address}/digits", DIGITS, format="json")
    assert made.status_code == 201
    assert made.json().items() >= (DIGITS | {"name": "digits", "direction": "higher"}).items()
    again = alices.put(f"{address}/digits", {"value": 0.1, "metric": "wer"}, format="json")
    assert (again.status_code, again.json()["direction"], again.json()["epochs"]) == (200, "lower", None)
    assert project_policy(project).baselines["digits"].value == 0.1


def test_lists_and_shows(alices, address):
    alices.put(f"{address}/digits", DIGITS, format="json")
    assert [row["name"] for row in alices.get(address).json()["results"]] == ["digits"]
    assert alices.get(f"{address}/digits").json()["value"] == 0.97


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("digits", {}, "$.value"),
        ("digits", {"value": "high"}, "$.value"),
        ("digits", {"value": 1, "epochs": 2**70}, "$.epochs"),
        ("digits", {"value": 1, "direction": "up"}, "$.direction"),
        ("digits", {"value": 1, "vlaue": 2}, "$.vlaue"),
        ("digits", {"value": 1, "source": 5}, "$.source"),
        ("digits", [], "$"),
        ("x" * 101, {"value": 1}, "$.name"),
        ("  ", {"value": 1}, "$.name"),
        ("a%00b", {"value": 1}, "$.name"),
    ],
)
def test_refuses(alices, address, name, body, path):
    answer = alices.put(f"{address}/{name}", body, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, path)
    assert not Baseline.objects.exists()


def test_forgets(alices, address):
    alices.put(f"{address}/digits", DIGITS, format="json")
    assert alices.delete(f"{address}/digits").status_code == 204
    assert not Baseline.objects.exists()
    assert alices.delete(f"{address}/digits").status_code == 404


def test_the_one_in_use_stays(alices, address, project):
    alices.put(f"{address}/digits", DIGITS, format="json")
    alices.patch(f"/api/projects/{project.pk}/policy", {"baseline": "digits"}, format="json")
    assert alices.delete(f"{address}/digits").status_code == 409
    assert Baseline.objects.exists()


def test_the_history_has_every_figure(alices, address):
    alices.put(f"{address}/digits", DIGITS, format="json")
    alices.put(f"{address}/digits", DIGITS | {"value": 0.98}, format="json")
    newest = PolicyChange.objects.first()
    assert (newest.setting, newest.old, newest.new) == ("baselines.digits.value", 0.97, 0.98)


@pytest.mark.parametrize(("who", "read", "write"), [("bob", 200, 403), ("charlie", 404, 404)])
def test_only_owners_declare(as_user, address, who, read, write, request):
    client = as_user(request.getfixturevalue(who))
    assert client.get(address).status_code == read
    assert client.put(f"{address}/digits", DIGITS, format="json").status_code == write


def test_own_figures_go_before_those_that_ship(alices, address, project):
    alices.put(f"{address}/mnist_cnn", {"value": 0.5}, format="json")
    assert project_policy(project).baselines["mnist_cnn"].value == 0.5
