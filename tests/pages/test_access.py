"""Who sees which page: members do, strangers get 404, nobody gets in without a login unless the server is open."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string
from django.test import Client

OF_A_PROJECT = ["/projects/{project}", "/projects/{project}/policy"]
OF_A_SESSION = ["/sessions/{session}", "/sessions/{session}/series", "/sessions/{session}/layers"]
OF_A_SESSION += ["/sessions/{session}/logs", "/runs/{run}"]
OF_EVERYBODY = ["/", "/checks", "/checks/loss-explosion", "/api/docs", "/accounts/password"]


@pytest.fixture
def addresses(project, bad_run):
    parts = {"project": project.pk, "session": bad_run.pk, "run": bad_run.diagnostic_runs.get().pk}
    return {path: path.format(**parts) for path in OF_A_PROJECT + OF_A_SESSION + OF_EVERYBODY}


@pytest.mark.parametrize("path", OF_A_PROJECT + OF_A_SESSION + OF_EVERYBODY)
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_members_see_it(path, who, addresses, request):
    client = Client()
    client.force_login(request.getfixturevalue(who))
    assert client.get(addresses[path]).status_code == 200


@pytest.mark.parametrize("path", OF_A_PROJECT + OF_A_SESSION)
def test_strangers_get_404(path, addresses, as_charlie):
    assert as_charlie.get(addresses[path]).status_code == 404


@pytest.mark.parametrize("path", OF_A_PROJECT + OF_A_SESSION + OF_EVERYBODY)
def test_nobody_gets_in_without_a_login(path, addresses):
    response = Client().get(addresses[path])
    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login")


@pytest.mark.parametrize("path", OF_A_PROJECT + OF_A_SESSION + OF_EVERYBODY[:-1])
def test_in_the_open_mode_nobody_is_asked(path, addresses, open_mode):
    assert Client().get(addresses[path]).status_code == 200


def test_strangers_cannot_order_a_diagnosis(bad_run, as_charlie):
    assert as_charlie.post(f"/sessions/{bad_run.pk}/diagnosis").status_code == 404
    assert bad_run.diagnostic_runs.count() == 1


def test_an_order_without_a_token_is_refused(bad_run, alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post(f"/sessions/{bad_run.pk}/diagnosis")
    assert response.status_code == 403
    assert "load the page again" in response.content.decode()


@pytest.mark.parametrize(
    "path", ["/projects/999999", "/sessions/999999", "/runs/999999", "/checks/no-such", "/nowhere"]
)
def test_what_is_not_there_is_404(path, as_alice):
    response = as_alice.get(path)
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()


def test_a_page_allows_no_inline_script(as_alice):
    policy = as_alice.get("/")["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"


def test_the_page_for_our_own_mistakes_needs_no_request():
    assert "Something broke" in render_to_string("500.html")
