from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils.timezone import now
from rest_framework.test import APIClient

from projects.authentication import find_key
from projects.models import ApiKey, KeyKind
from projects.services import issue_key, public_part, revoke_key


@pytest.fixture
def issued(project):
    return issue_key(project, KeyKind.FULL)


def client_with(text, scheme="Bearer"):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {text}")
    return client


def read(text, scheme="Bearer"):
    return client_with(text, scheme).get("/api/projects")


def test_a_key_opens_its_project(issued, project):
    assert [each["id"] for each in read(issued[1]).json()["results"]] == [project.pk]


def test_the_scheme_is_read_in_any_case(issued):
    assert read(issued[1], "bearer").status_code == 200


def test_a_key_says_its_kind(project):
    assert issue_key(project, KeyKind.INGEST)[1].startswith("mld_ing_")
    assert issue_key(project, KeyKind.READ)[1].startswith("mld_ro_")


def test_no_two_keys_are_alike(project):
    assert len({issue_key(project, KeyKind.READ)[1] for _ in range(20)}) == 20


def test_the_key_itself_is_not_stored(issued, tmp_path):
    _, text = issued
    call_command("dumpdata", output=str(tmp_path / "dump.json"), verbosity=0)
    dump = (tmp_path / "dump.json").read_text()
    assert public_part(text) in dump
    assert text not in dump
    assert text.removeprefix(public_part(text)) not in dump


def test_the_key_is_not_printed(issued, caplog, as_user, alice):
    key, text = issued
    with caplog.at_level(logging.DEBUG):
        read(text)
        read(f"{text}x")
        client_with(text).post("/api/projects", {"name": "x"}, format="json")
    secret = text.removeprefix(public_part(text))
    seen = [
        caplog.text,
        str(key),
        repr(key),
        as_user(alice).get(f"/api/projects/{key.project_id}/keys").content.decode(),
    ]
    assert [secret in each for each in seen] == [False] * 4


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("mld_ing_", id="no secret"),
        pytest.param("mld_ing_abcdefgh", id="too short"),
        pytest.param("x" * 10_000, id="long"),
        pytest.param("mld_ing_%00", id="percent"),
        pytest.param("\xe9", id="not ascii"),
    ],
)
def test_what_is_no_key_is_refused(db, text):
    answer = read(text)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\u202e"])
def test_absurd_text_finds_no_key(db, text):
    assert find_key(text) is None


def test_a_changed_letter_is_refused(issued):
    _, text = issued
    assert read(text[:-1] + ("a" if text[-1] != "a" else "b")).status_code == 401


def test_a_revoked_key_is_refused(issued):
    key, text = issued
    revoke_key(key)
    assert read(text).status_code == 401


def test_revoking_again_keeps_the_date(issued):
    key, _ = issued
    revoke_key(key)
    first = key.revoked
    revoke_key(key)
    assert key.revoked == first


@pytest.mark.parametrize(("days", "status"), [(-1, 401), (1, 200)], ids=["expired", "not yet"])
def test_a_key_may_expire(project, days, status):
    _, text = issue_key(project, KeyKind.READ, expires=now() + timedelta(days=days))
    assert read(text).status_code == status


def test_a_key_of_another_secret_is_refused(issued, settings):
    settings.SECRET_KEY = "another secret, as long as one has to be"
    assert read(issued[1]).status_code == 401


def test_a_secret_may_be_rotated(issued, settings):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret, as long as one has to be"
    assert read(issued[1]).status_code == 200


def test_the_last_use_is_noted_once_a_minute(issued):
    key, text = issued
    read(text)
    noted = ApiKey.objects.get(pk=key.pk).last_used
    read(text)
    assert noted is not None
    assert ApiKey.objects.get(pk=key.pk).last_used == noted


def test_a_use_long_ago_is_noted_anew(issued):
    key, text = issued
    ApiKey.objects.update(last_used=now() - timedelta(minutes=2))
    read(text)
    assert ApiKey.objects.get(pk=key.pk).last_used > now() - timedelta(minutes=1)


def test_the_open_mode_does_not_mind_a_foreign_key(db, open_mode):
    assert read("mld_ing_keyofanotherserver").status_code == 200
