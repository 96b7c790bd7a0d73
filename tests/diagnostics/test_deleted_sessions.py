"""Sessions that are deleted, by whatever door, leave no trace in the figures of problems."""

from __future__ import annotations

import pytest
from django.urls import reverse

from projects.models import KeyKind
from sessions.models import TrainSession
from tests.diagnostics.triage import tell, the_problem


@pytest.fixture
def four(project):
    return tell(project, "WWWW")


def figures():
    found = the_problem()
    return found.session_count, found.last_session.name if found.last_session else None, found.standing


def test_one_deleted_in_the_admin(admin_client, four):
    url = reverse("admin:training_trainsession_delete", args=[four[3].pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert figures() == (3, "run 2", "ongoing")


def test_several_deleted_in_the_admin(admin_client, four, charlies_project):
    tell(charlies_project, "W")
    ticked = [session.pk for session in four[1:]] + [TrainSession.objects.get(project=charlies_project).pk]
    form = {"action": "delete_selected", "_selected_action": ticked, "post": "yes"}
    assert admin_client.post(reverse("admin:training_trainsession_changelist"), form).status_code == 302
    assert four[0].project.problems.get().session_count == 1
    assert charlies_project.problems.get().standing == "resolved"


def test_all_deleted_over_http(as_user, alice, four):
    for session in four:
        assert as_user(alice).delete(f"/api/sessions/{session.key}").status_code == 204
    assert figures() == (0, None, "resolved")
    assert the_problem().activity.first().act == "withdrawn"


def test_who_may_delete_over_http(as_user, as_key, api, bob, charlie, charlies_project, four):
    path = f"/api/sessions/{four[0].key}"
    refused = [as_user(bob), as_user(charlie), as_key(KeyKind.FULL, of=charlies_project), api]
    refused += [as_key(KeyKind.INGEST), as_key(KeyKind.READ)]
    assert [each.delete(path).status_code for each in refused] == [403, 404, 404, 401, 403, 403]
    assert TrainSession.objects.count() == 4
    assert as_key(KeyKind.FULL).delete(path).status_code == 204


def test_a_number_is_not_enough_to_delete(as_user, alice, four):
    assert as_user(alice).delete(f"/api/sessions/{four[0].pk}").status_code == 404


def test_deleting_a_project_needs_no_figures(admin_client, project, four):
    url = reverse("admin:projects_project_delete", args=[project.pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 302
    assert not TrainSession.objects.exists()
