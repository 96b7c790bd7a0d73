from __future__ import annotations

import json

import pytest

from projects.models import ApiKey, KeyKind, Membership, Project, Role


def test_whoever_makes_a_project_owns_it(as_user, charlie):
    answer = as_user(charlie).post("/api/projects", {"name": "Cats", "description": "Meow."}, format="json")
    assert answer.status_code == 201
    assert Membership.objects.get(project=answer.json()["id"]).role == Role.OWNER
    assert answer.json()["url"].startswith("http://testserver/projects/")
    assert set(answer.json()) >= {"id", "name", "description", "created_at", "url"}


def test_making_it_again_finds_it(as_user, bob, project):
    answer = as_user(bob).post("/api/projects", {"name": " Digits "}, format="json")
    assert (answer.status_code, answer.json()["id"]) == (200, project.pk)


def test_a_name_of_strangers_is_taken(as_user, charlie, project):
    answer = as_user(charlie).post("/api/projects", {"name": "Digits"}, format="json")
    assert (answer.status_code, answer.json()["path"]) == (409, "$.name")
    assert not Membership.objects.filter(user=charlie).exists()


def test_anybody_may_make_one_in_the_open_mode(api, db, open_mode):
    assert api.post("/api/projects", {"name": "Cats"}, format="json").status_code == 201
    assert Project.objects.get(name="Cats").members.count() == 0


@pytest.mark.parametrize("kind", [KeyKind.INGEST, KeyKind.FULL])
def test_a_key_finds_its_project_by_name(as_key, project, kind):
    answer = as_key(kind).post("/api/projects", {"name": "Digits"}, format="json")
    assert (answer.status_code, answer.json()["id"]) == (200, project.pk)


def test_a_key_makes_no_project(as_key):
    assert as_key(KeyKind.FULL).post("/api/projects", {"name": "Cats"}, format="json").status_code == 403
    assert not Project.objects.filter(name="Cats").exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, None, ["a"], {"a": 1}])
def test_an_unusable_name_is_refused(as_user, alice, name):
    answer = as_user(alice).post("/api/projects", {"name": name}, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, "$.name")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "\N{FIRE}", "<b>"])
def test_an_odd_name_is_taken(as_user, alice, name):
    body = json.dumps({"name": name})
    answer = as_user(alice).post("/api/projects", body, content_type="application/json")
    assert answer.status_code == 201


def test_the_first_project_after_the_default_gets_its_own_id(db):
    """PostgreSQL's sequence must know of project 1, which a migration made with its id."""
    assert Project.objects.create(name="Cats").pk > 1
    assert Project.objects.get(pk=1).name == "Default project"


def test_members_see_their_projects_only(as_user, bob, project, charlies_project):
    assert [each["name"] for each in as_user(bob).get("/api/projects").json()["results"]] == ["Digits"]


def test_a_list_costs_the_same_for_many(as_user, alice, project, django_assert_num_queries):
    client = as_user(alice)
    made = Project.objects.bulk_create(Project(name=f"Project {number}") for number in range(200))
    for expected in (1, 201):
        with django_assert_num_queries(4):
            assert client.get("/api/projects?page_size=500").json()["count"] == expected
        Membership.objects.bulk_create([Membership(project=each, user=alice) for each in made], ignore_conflicts=True)


def test_an_owner_makes_a_key(as_user, alice, project):
    answer = as_user(alice).post(f"/api/projects/{project.pk}/keys", {"kind": "ro", "name": "CI"}, format="json")
    assert answer.status_code == 201
    made = ApiKey.objects.get()
    assert (made.kind, made.created_by, made.name) == (KeyKind.READ, alice, "CI")
    assert answer.json()["key"].startswith(made.prefix)


def test_a_list_of_keys_has_no_key_in_it(as_user, alice, project):
    address = f"/api/projects/{project.pk}/keys"
    secret = as_user(alice).post(address, {}, format="json").json()["key"]
    answer = as_user(alice).get(address)
    assert answer.json()["count"] == 1
    assert secret not in answer.content.decode()
    assert "digest" not in answer.content.decode()


def test_an_owner_revokes_a_key(as_user, alice, project):
    address = f"/api/projects/{project.pk}/keys"
    made = as_user(alice).post(address, {}, format="json").json()
    assert as_user(alice).delete(f"{address}/{made['id']}").status_code == 204
    assert ApiKey.objects.get().revoked is not None


def test_a_key_of_another_project_cannot_be_revoked(as_user, alice, project, as_key, charlies_project):
    as_key(KeyKind.READ, charlies_project)
    theirs = ApiKey.objects.get()
    assert as_user(alice).delete(f"/api/projects/{project.pk}/keys/{theirs.pk}").status_code == 404
    theirs.refresh_from_db()
    assert theirs.revoked is None


@pytest.mark.parametrize("number", [0, 2**63, 10**40])
def test_an_absurd_number_is_not_found(as_user, alice, number):
    assert as_user(alice).get(f"/api/projects/{number}").status_code == 404


def test_an_unknown_kind_is_refused(as_user, alice, project):
    answer = as_user(alice).post(f"/api/projects/{project.pk}/keys", {"kind": "root"}, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, "$.kind")
