"""Members, keys and accounts."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from projects.authentication import find_key
from projects.models import Role
from projects.services import issue_key


@pytest.fixture
def do(alice, project):
    def post(action, user=alice, **fields):
        client = Client()
        client.force_login(user)
        return client.post(f"/projects/{project.pk}/access", {"action": action, **fields}, follow=True)

    return post


def roles(project):
    return dict(project.memberships.values_list("user__username", "role"))


def test_a_key_is_shown_once(do, text, project):
    page = do("issue", kind="ing", name="cluster", days="").content.decode()
    (key,) = re.findall(r"mld_ing_\w{40}", page)
    assert find_key(key).project_id == project.pk
    assert key not in text(f"/projects/{project.pk}/access")
    assert "cluster" in text(f"/projects/{project.pk}/access")


def test_the_answer_with_a_key_is_kept_nowhere(do):
    assert "no-store" in do("issue", kind="ro", days="30")["Cache-Control"]


@pytest.mark.parametrize("wrong", [{"kind": "all", "days": ""}, {"kind": "ro", "days": "7"}, {}], ids=str)
def test_a_strange_key_is_refused(do, project, wrong):
    assert do("issue", **wrong).status_code == 400
    assert not project.api_keys.exists()


def test_a_key_is_revoked(do, project):
    key, plain = issue_key(project, "ro")
    do("revoke", key=key.pk)
    assert find_key(plain) is None


def test_a_key_of_another_project_is_not(do, charlies_project):
    key, plain = issue_key(charlies_project, "ro")
    assert do("revoke", key=key.pk).status_code == 404
    assert find_key(plain)


def test_an_owner_adds_a_member(do, project, charlie):
    do("add", username="charlie", role="member")
    assert roles(project)["charlie"] == Role.MEMBER


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"username": "nobody", "role": "member"}, "There is no user"),
        ({"username": "bob", "role": "member"}, "is a member already"),
        ({"username": "charlie", "role": "king"}, "role is one of"),
        ({"username": "\0", "role": "member"}, "There is no user"),
    ],
)
def test_who_cannot_be_added_is_told_why(do, project, charlie, fields, words):
    answer = do("add", **fields)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert roles(project) == {"alice": "owner", "bob": "member"}


def test_a_member_is_removed(do, project, bob):
    do("remove", member=project.memberships.get(user=bob).pk)
    assert roles(project) == {"alice": "owner"}


def test_a_member_becomes_an_owner(do, project, bob):
    do("role", member=project.memberships.get(user=bob).pk, role="owner")
    assert roles(project)["bob"] == Role.OWNER


@pytest.mark.parametrize("action", ["remove", "role"])
def test_the_last_owner_stays(do, project, alice, action):
    answer = do(action, member=project.memberships.get(user=alice).pk, role="member")
    assert "keeps at least one owner" in answer.content.decode()
    assert roles(project)["alice"] == Role.OWNER


@pytest.mark.parametrize("action", ["add", "remove", "role", "issue", "revoke"])
def test_members_change_nothing(do, project, bob, charlie, action):
    answer = do(action, user=bob, username="charlie", role="member", kind="rw", days="")
    assert answer.status_code == 403
    assert roles(project) == {"alice": "owner", "bob": "member"}
    assert not project.api_keys.exists()


def test_members_are_offered_nothing(project, bob):
    client = Client()
    client.force_login(bob)
    page = client.get(f"/projects/{project.pk}/access").content.decode()
    assert "Make a key" not in page
    assert "alice" in page


@pytest.mark.parametrize("action", ["", "add", "issue"])
def test_strangers_get_404(do, project, charlie, action):
    assert do(action, user=charlie).status_code == 404


def test_an_account_shows_its_projects_and_keys(do, text, project):
    do("issue", kind="ing", name="cluster", days="90")
    page = text("/accounts/me")
    assert "Digits" in page
    assert "cluster" in page


def test_keys_of_projects_that_were_left_are_not_shown(do, project, bob):
    project.memberships.filter(user=bob).update(role="owner")
    do("issue", user=bob, kind="ing", name="cluster", days="")
    project.memberships.filter(user=bob).delete()
    client = Client()
    client.force_login(bob)
    assert "cluster" not in client.get("/accounts/me").content.decode()


def test_a_changed_password_is_confirmed(as_alice, alice):
    new = "another long password"
    body = {"old_password": "alice has a password", "new_password1": new, "new_password2": new}
    assert "Your password is changed" in as_alice.post("/accounts/password", body, follow=True).content.decode()


@pytest.mark.parametrize("number", [1, 20])
def test_costs_the_same_for_one_and_for_many(as_alice, alice, project, number, django_assert_num_queries):
    for _ in range(number):
        issue_key(project, "ro", created_by=alice)
    # The login's session and user, the project, who owns it, its keys and its members.
    with django_assert_num_queries(6):
        as_alice.get(f"/projects/{project.pk}/access")
