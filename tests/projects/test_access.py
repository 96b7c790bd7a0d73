"""Who may do what: everybody at every door."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils.timezone import now
from rest_framework.test import APIClient

from projects.models import KeyKind
from projects.services import issue_key, revoke_key
from tests.conftest import epoch_record

DOORS = {
    "list projects": ("get", "/api/projects", None),
    "see a project": ("get", "/api/projects/{project}", None),
    "make a project": ("post", "/api/projects", {"name": "Digits"}),
    "list keys": ("get", "/api/projects/{project}/keys", None),
    "make a key": ("post", "/api/projects/{project}/keys", {}),
    "list sessions": ("get", "/api/sessions", None),
    "see a session": ("get", "/api/sessions/{session}", None),
    "see a session by number": ("get", "/api/sessions/{number}", None),
    "read epochs": ("get", "/api/sessions/{session}/epochs", None),
    "read logs": ("get", "/api/sessions/{session}/logs", None),
    "open again": ("put", "/api/sessions/{session}", {}),
    "open anew in the project": ("put", f"/api/sessions/{uuid4()}", {"project_id": "{project}"}),
    "describe": ("patch", "/api/sessions/{session}", {"tags": ["x"]}),
    "register a model": ("put", "/api/sessions/{session}/model", {}),
    "send epochs": ("post", "/api/sessions/{session}/epochs", [epoch_record(4)]),
    "send logs": ("post", "/api/sessions/{session}/logs", [{"seq": 1, "msg": "x"}]),
    "heartbeat": ("post", "/api/sessions/{session}/heartbeat", {}),
    "finish": ("post", "/api/sessions/{session}/finish", {}),
}
READS = {name for name, (method, _, _) in DOORS.items() if method == "get"}
KEYS = {"list keys", "make a key"}
LISTS = {"list projects", "list sessions"}
WRITES = DOORS.keys() - READS - KEYS

OK = {200, 201}
EXPECTED = {
    # who: (doors that open, status of the others)
    "owner": (DOORS.keys(), 0),
    "member": (DOORS.keys() - KEYS, 403),
    "ingest key": (WRITES, 403),
    "read key": (READS - KEYS, 403),
    "full key": (DOORS.keys() - KEYS, 403),
    "stranger": (LISTS, 404),
    "foreign full key": (LISTS, 404),
    "anonymous": (set(), 401),
    "revoked key": (set(), 401),
    "expired key": (set(), 401),
}


@pytest.fixture
def people(project, charlies_project, alice, bob, charlie):
    def with_login(user):
        client = APIClient()
        client.force_login(user)
        return client

    def with_key(kind, of=project, *, expired=False, revoked=False):
        key, text = issue_key(of, kind, expires=now() - timedelta(seconds=1) if expired else None)
        if revoked:
            revoke_key(key)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return {
        "owner": lambda: with_login(alice),
        "member": lambda: with_login(bob),
        "stranger": lambda: with_login(charlie),
        "ingest key": lambda: with_key(KeyKind.INGEST),
        "read key": lambda: with_key(KeyKind.READ),
        "full key": lambda: with_key(KeyKind.FULL),
        "foreign full key": lambda: with_key(KeyKind.FULL, charlies_project),
        "revoked key": lambda: with_key(KeyKind.FULL, revoked=True),
        "expired key": lambda: with_key(KeyKind.FULL, expired=True),
        "anonymous": APIClient,
    }


def knock(client, door, project, session):
    method, address, body = DOORS[door]
    names = {"project": project.pk, "session": session.key, "number": session.pk}
    if isinstance(body, dict):
        body = {key: value.format(**names) if isinstance(value, str) else value for key, value in body.items()}
    return getattr(client, method)(address.format(**names), body, format="json" if method != "get" else None)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("who", EXPECTED)
def test_door(who, door, people, project, session):
    opens, otherwise = EXPECTED[who]
    answer = knock(people[who](), door, project, session)
    if who in ("stranger", "foreign full key") and door == "make a project":
        # A name is taken or not; nothing else is told.
        assert answer.status_code in (403, 409)
    elif door in opens:
        assert answer.status_code in OK, answer.content
    else:
        assert answer.status_code == otherwise, answer.content
        assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("door", sorted(LISTS))
@pytest.mark.parametrize("who", ["stranger", "foreign full key"])
def test_strangers_lists_do_not_show_it(who, door, people, project, session):
    shown = [each["name"] for each in knock(people[who](), door, project, session).json()["results"]]
    assert {"Digits", "first try"}.isdisjoint(shown)


@pytest.mark.parametrize("door", DOORS)
def test_the_open_mode_is_open(door, people, project, session, open_mode):
    assert knock(APIClient(), door, project, session).status_code in OK


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "head", "trace"])
@pytest.mark.parametrize("door", DOORS)
def test_no_other_method_opens_a_door_for_the_anonymous(door, method, project, session):
    _, address, _ = DOORS[door]
    address = address.format(project=project.pk, session=session.key, number=session.pk)
    assert APIClient().generic(method.upper(), address).status_code == 401


def test_a_login_needs_the_csrf_token_to_write(alice, project):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post("/api/projects", {"name": "x"}, format="json").status_code == 403
    assert client.get("/api/projects").status_code == 200


def test_a_key_needs_no_csrf_token(project):
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issue_key(project, KeyKind.INGEST)[1]}")
    assert client.put(f"/api/sessions/{uuid4()}", {}, format="json").status_code == 201


def test_a_superuser_sees_everything(django_user_model, project, session):
    client = APIClient()
    client.force_login(django_user_model.objects.create_superuser("root"))
    assert client.get(f"/api/sessions/{session.key}").status_code == 200
