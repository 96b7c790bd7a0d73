"""Who may ask for diagnoses and read them."""

from __future__ import annotations

import pytest

from diagnostics import services
from diagnostics.models import DiagnosticRun
from projects.models import KeyKind

PATHS = [
    pytest.param("get", "sessions/{session}", id="list"),
    pytest.param("get", "runs/{run}", id="run"),
    pytest.param("get", "sessions/{session}/health", id="health"),
    pytest.param("get", "projects/{project}/trend", id="trend"),
]
ALL_PATHS = [*PATHS, pytest.param("post", "sessions/{session}/run", id="diagnose")]


@pytest.fixture
def judged(session):
    return services.diagnose_now(session)


@pytest.fixture
def ask(judged):
    """``ask(client, method, path)`` returns the status."""

    def status(client, method, path):
        url = path.format(session=judged.session_id, run=judged.pk, project=judged.session.project_id)
        answer = getattr(client, method)(f"/diagnostics/{url}", headers={"Prefer": "respond-async"})
        return answer.status_code

    return status


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_members_come_in(ask, as_user, alice, bob, method, path):
    assert ask(as_user(alice), method, path) in (200, 202)
    assert ask(as_user(bob), method, path) in (200, 202)


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_strangers_learn_nothing(ask, as_user, charlie, method, path):
    assert ask(as_user(charlie), method, path) == 404


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_nobody_comes_in_without_a_login(ask, api, method, path):
    assert ask(api, method, path) == 401


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_open_server_asks_nobody(ask, api, open_mode, method, path):
    assert ask(api, method, path) in (200, 202)


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_ingest_key_reads_nothing(ask, as_key, method, path):
    assert ask(as_key(KeyKind.INGEST), method, path) == 403


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_read_key_reads(ask, as_key, method, path):
    assert ask(as_key(KeyKind.READ), method, path) == 200


def test_read_key_orders_nothing(ask, as_key):
    before = DiagnosticRun.objects.count()
    assert ask(as_key(KeyKind.READ), "post", "sessions/{session}/run") == 403
    assert DiagnosticRun.objects.count() == before


@pytest.mark.parametrize(("method", "path"), ALL_PATHS)
def test_key_of_another_project_learns_nothing(ask, as_key, charlies_project, method, path):
    assert ask(as_key(KeyKind.FULL, of=charlies_project), method, path) == 404


@pytest.mark.parametrize("number", [0, 4711, 2**63, 10**30], ids=["zero", "unknown", "too large", "absurd"])
def test_absurd_numbers_are_not_found(as_user, alice, number):
    assert as_user(alice).get(f"/diagnostics/sessions/{number}").status_code == 404
    assert as_user(alice).get(f"/diagnostics/runs/{number}").status_code == 404
    assert as_user(alice).get(f"/diagnostics/projects/{number}/trend").status_code == 404
