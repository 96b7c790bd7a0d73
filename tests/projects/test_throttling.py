"""Who knocks too often waits: at the sign-in, and with a key."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from projects import throttling
from projects.models import KeyKind

PAGES = ["/accounts/login", "/admin/login/"]


@pytest.fixture(autouse=True)
def _nothing_counted():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch):
    # A span that ends while a test runs would start the count anew.
    monkeypatch.setattr(throttling, "time", lambda: 1_000_000_000.0)
    monkeypatch.setattr(throttling, "SIGN_INS_OF_A_PAIR", 3)
    monkeypatch.setattr(throttling, "SIGN_INS", 5)


def sign_in(name="alice", password="wrong", page=PAGES[0], address="127.0.0.1"):
    return Client(REMOTE_ADDR=address).post(page, {"username": name, "password": password})


@pytest.mark.parametrize("page", PAGES)
def test_after_too_many_failures_the_right_password_does_not_help(page, alice):
    assert [sign_in(page=page).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = sign_in(page=page, password="alice has a password")
    assert refused.status_code == 429 and 0 < int(refused["Retry-After"]) <= 900
    assert "Try again in" in refused.content.decode()


def test_both_pages_count_together(alice):
    assert [sign_in(page=page).status_code for page in [*PAGES, *PAGES]][-1] == 429


def test_success_counts_nothing(alice):
    assert {sign_in(password="alice has a password").status_code for _ in range(9)} == {302}


def test_another_address_and_another_account_may_still_try(alice, bob):
    for _ in range(4):
        sign_in()
    assert sign_in(password="alice has a password", address="127.0.0.2").status_code == 302
    assert sign_in("bob", "bob has a password").status_code == 302


@pytest.mark.parametrize(
    "spread",
    [lambda at: {"name": f"user{at}"}, lambda at: {"address": f"10.0.0.{at}"}],
    ids=["one address, many accounts", "one account, many addresses"],
)
def test_guesses_that_are_spread_are_stopped_too(spread, db):
    assert [sign_in(**spread(at)).status_code for at in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize("name", ["", "\0", "x" * 100_000, "ALICE ", "\N{GRINNING FACE}"])
def test_whatever_is_typed_is_counted(name, db):
    assert [sign_in(name).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_the_page_itself_can_always_be_seen(db):
    for _ in range(9):
        sign_in()
    assert Client().get("/accounts/login").status_code == 200


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_that_asks_too_often_is_told_to_wait(kind, as_key, session, settings):
    settings.MLDIAG_KEY_REQUESTS_PER_MINUTE = 2
    client = as_key(kind)
    for _ in range(3):
        answer = client.post(f"/api/sessions/{session.key}/heartbeat", {}, format="json")
    assert answer.status_code == (403 if kind == KeyKind.READ else 429)
    if kind != KeyKind.READ:
        assert 0 < int(answer["Retry-After"]) <= 60 and "detail" in answer.json()
    other = as_key(kind).post(f"/api/sessions/{session.key}/heartbeat", {}, format="json")
    assert other.status_code != 429, "another key has its own share"


@pytest.mark.parametrize(
    "change", [{"MLDIAG_AUTH": "open"}, {"MLDIAG_KEY_REQUESTS_PER_MINUTE": 0}], ids=["open", "off"]
)
def test_nobody_is_hindered(change, ingest, session, settings):
    settings.MLDIAG_KEY_REQUESTS_PER_MINUTE = 1
    for name, value in change.items():
        setattr(settings, name, value)
    answers = [ingest.post(f"/api/sessions/{session.key}/heartbeat", {}, format="json") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
