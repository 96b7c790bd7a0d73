"""Saved searches over HTTP."""

from __future__ import annotations

import pytest

from diagnostics.problem_models import SavedSearch
from diagnostics.services.problems.saving import MOST_SEARCHES
from projects.models import KeyKind
from tests.diagnostics.triage import tell

GRAVE = {"name": "grave", "query": "severity=critical&sort=last"}


@pytest.fixture
def address(project):
    return f"/api/projects/{project.pk}/searches"


@pytest.fixture
def alices(as_user, alice):
    return as_user(alice)


def test_is_saved_listed_and_forgotten(alices, address, project):
    saved = alices.post(address, GRAVE, format="json")
    (listed,) = alices.get(address).json()["results"]
    assert (saved.status_code, saved.json()) == (201, listed)
    assert listed["url"].endswith(f"/projects/{project.pk}/problems?severity=critical&sort=last")
    assert alices.delete(f"{address}/{listed['id']}").status_code == 204
    assert alices.get(address).json()["count"] == 0


def test_the_same_name_replaces_it(alices, address):
    alices.post(address, GRAVE, format="json")
    assert alices.post(address, {**GRAVE, "query": "?q=conv"}, format="json").status_code == 200
    assert SavedSearch.objects.get().query == "q=conv"


def test_is_the_one_of_the_page(alices, address, project, client, alice):
    tell(project, "W")
    alices.post(address, GRAVE, format="json")
    client.force_login(alice)
    assert "?severity=critical&amp;sort=last" in client.get(f"/projects/{project.pk}/problems").content.decode()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"query": ""}, "$.name"),
        ({"name": " ", "query": ""}, "$.name"),
        ({"name": "x" * 81, "query": ""}, "$.name"),
        ({"name": "x", "query": "q" * 1001}, "$.query"),
        ({"name": "x"}, "$.query"),
    ],
    ids=["no name", "blank", "long name", "long query", "no query"],
)
def test_what_makes_no_sense_is_refused(alices, address, body, path):
    answer = alices.post(address, body, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, path)


def test_there_is_a_most(alices, alice, address, project):
    SavedSearch.objects.bulk_create(SavedSearch(project=project, user=alice, name=f"{n}") for n in range(MOST_SEARCHES))
    assert alices.post(address, GRAVE, format="json").status_code == 400
    assert alices.post(address, {**GRAVE, "name": "1"}, format="json").status_code == 200


def test_members_do_not_see_or_delete_those_of_others(alices, as_user, bob, address):
    saved = alices.post(address, GRAVE, format="json").json()
    bobs = as_user(bob)
    assert bobs.get(address).json()["count"] == 0
    assert bobs.delete(f"{address}/{saved['id']}").status_code == 404
    assert SavedSearch.objects.exists()


def test_access(as_user, as_key, api, charlie, charlies_project, address):
    for stranger in (as_user(charlie), as_key(KeyKind.FULL, of=charlies_project)):
        assert stranger.get(address).status_code == stranger.post(address, GRAVE, format="json").status_code == 404
        assert stranger.delete(f"{address}/1").status_code == 404
    assert api.get(address).status_code == 401
    reader = as_key(KeyKind.READ)
    assert (reader.get(address).status_code, reader.post(address, GRAVE, format="json").status_code) == (200, 403)
    assert as_key(KeyKind.FULL).post(address, GRAVE, format="json").status_code == 201


def test_on_an_open_server_they_are_everybodys(api, open_mode, address):
    api.post(address, GRAVE, format="json")
    assert api.get(address).json()["count"] == 1
