"""Whatever address names something of a project answers strangers as if it were not there, by any method."""

from __future__ import annotations

import re

import pytest
from rest_framework.test import APIClient

from diagnostics.models import DiagnosticRun, Problem, SavedSearch
from projects.models import Baseline, KeyKind
from projects.services import issue_key
from sessions.models import TrainSession
from tests.mldiag.test_routes import METHODS, routes

NAMED = sorted(route for route in set(routes()) if "<" in route and not route.startswith(("admin/", "checks/")))
API = ("api/", "diagnostics/")
HIDDEN = {404, 405}


@pytest.fixture
def address(project, alice):
    """``address(route)`` names what Alice has."""
    session = TrainSession.objects.create(project=project, name="secret")
    run = DiagnosticRun.objects.create(session=session)
    names = {
        "projects": project.pk,
        "sessions": session.pk,
        "runs": run.pk,
        "diagnosis": run.pk,
        "problems": Problem.objects.create(project=project, fingerprint="x", check_id="x", title="Secret").pk,
        "searches": SavedSearch.objects.create(project=project, user=alice, name="Secret").pk,
        "baselines": Baseline.objects.create(project=project, name="secret", value=0.5).name,
        "keys": issue_key(project, KeyKind.FULL)[0].pk,
    }

    def filled(route):
        route = route.replace("<str:key>", str(session.key))
        return "/" + re.sub(r"(\w+)/<(?:\w+:)?\w+>", lambda gap: f"{gap[1]}/{names[gap[1]]}", route)

    return filled


def knock(client, route, address):
    """Return the statuses by method. What is sent makes sense, so that nothing else can be the reason to refuse."""
    body = "[]" if route.endswith(("epochs", "logs")) else "{}"
    return {
        method: client.generic(method, address(route), body, content_type="application/json").status_code
        for method in METHODS
    }


def test_there_is_something_to_hide():
    assert {"api/sessions/<str:key>", "problems/<int:pk>", "runs/<int:pk>"} <= set(NAMED)


@pytest.mark.parametrize("route", NAMED)
def test_a_stranger_finds_nothing(route, address, as_user, charlie):
    assert set(knock(as_user(charlie), route, address).values()) <= HIDDEN


@pytest.mark.parametrize("route", [route for route in NAMED if route.startswith(API)])
def test_a_key_of_another_project_finds_nothing(route, address, as_key, charlies_project):
    assert set(knock(as_key(KeyKind.FULL, charlies_project), route, address).values()) <= HIDDEN


@pytest.mark.parametrize("route", [route for route in NAMED if route.startswith(API)])
def test_an_ingest_key_reads_nothing(route, address, as_key):
    statuses = knock(as_key(KeyKind.INGEST), route, address)
    assert {statuses["GET"], statuses["HEAD"]} <= {403, 405}


@pytest.mark.parametrize("route", [route for route in NAMED if route.startswith(API)])
def test_a_read_key_writes_nothing(route, address, as_key):
    statuses = knock(as_key(KeyKind.READ), route, address)
    assert {statuses[method] for method in ("POST", "PUT", "PATCH", "DELETE")} <= {403, 405}


@pytest.mark.parametrize("route", [route for route in NAMED if not route.startswith(API)])
def test_a_key_opens_no_page(route, address, as_key):
    assert set(knock(as_key(KeyKind.FULL), route, address).values()) <= {302, 405}


@pytest.mark.parametrize("route", NAMED)
def test_the_open_mode_writes_nothing_for_a_foreign_page(route, address, open_mode):
    client = APIClient(HTTP_ORIGIN="https://evil.example", HTTP_SEC_FETCH_SITE="cross-site")
    statuses = knock(client, route, address)
    assert {statuses[method] for method in ("POST", "PUT", "PATCH", "DELETE")} == {403}
