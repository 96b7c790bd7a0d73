from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.authentication import find_key
from projects.models import ApiKey, KeyKind, Membership, Project
from projects.services import issue_key

PROJECTS = "/admin/projects/project/"
KEYS = "/admin/projects/apikey/"


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


@pytest.mark.parametrize("address", [PROJECTS, KEYS])
def test_a_list_costs_the_same_for_many(admin_client, project, alice, address):
    def cost():
        with CaptureQueriesContext(connection) as seen:
            assert admin_client.get(address).status_code == 200
        return len(seen)

    issue_key(project, KeyKind.READ)
    few = cost()
    for number in range(60):
        other = Project.objects.create(name=f"Project {number}")
        Membership.objects.create(project=other, user=alice)
        issue_key(other, KeyKind.READ)
    assert cost() == few
