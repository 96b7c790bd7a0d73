from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from observer_client.record import Opening
from projects.models import DEFAULT_PROJECT_ID, ApiKey, KeyKind, Project
from projects.services import NotFound
from sessions.models import TrainSession
from sessions.services import lifecycle, open_session

KEY = str(uuid4())
ADDRESS = f"/api/sessions/{KEY}"


def test_a_key_opens_a_session_in_its_project(ingest, project):
    answer = ingest.put(ADDRESS, {"run_name": "first", "hyperparameters": {"lr": 0.1}}, format="json")
    assert answer.status_code == 201
    assert answer.json()["project"] == {"id": project.pk, "name": "Digits"}
    assert answer.json()["url"] == f"http://testserver/sessions/{answer.json()['id']}"


def test_opening_again_changes_nothing(ingest):
    first = ingest.put(ADDRESS, {"run_name": "first"}, format="json").json()
    again = ingest.put(ADDRESS, {"run_name": "second", "key": KEY}, format="json")
    assert again.status_code == 200
    assert (again.json()["id"], again.json()["name"]) == (first["id"], "first")


def test_the_open_mode_uses_the_default_project(api, open_mode, db):
    assert api.put(ADDRESS, {}, format="json").json()["project"]["id"] == DEFAULT_PROJECT_ID


def test_the_open_mode_makes_a_project_by_name(api, open_mode, db):
    answer = api.put(ADDRESS, {"project": "New line of work"}, format="json")
    assert answer.status_code == 201
    assert Project.objects.filter(name="New line of work").count() == 1


def test_a_nameless_run_gets_a_name(ingest):
    assert ingest.put(ADDRESS, {}, format="json").json()["name"] == f"run {KEY[:8]}"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        pytest.param({"project_id": 4711}, 404, "no project 4711", id="unknown project id"),
        pytest.param({"project": "Nowhere"}, 404, "no project 'Nowhere'", id="unknown project name"),
        pytest.param({"key": str(uuid4())}, 400, "address", id="another key in the body"),
        pytest.param({"hyperparameters": [1]}, 400, "Expected `object`", id="list of hyperparameters"),
        pytest.param([], 400, "JSON object", id="a list"),
        pytest.param({"tags": ["x"] * 101}, 400, "100 tags", id="too many tags"),
    ],
)
def test_what_cannot_be_opened_says_why(ingest, body, status, word):
    answer = ingest.put(ADDRESS, body, format="json")
    assert (answer.status_code, word in answer.json()["detail"]) == (status, True)
    assert not TrainSession.objects.exists()


def test_a_key_that_is_no_uuid_is_refused(ingest):
    answer = ingest.put("/api/sessions/mine", {}, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, "$.key")


def test_the_session_of_another_project_looks_like_none(session, as_key, charlies_project):
    answer = as_key(KeyKind.INGEST, charlies_project).put(f"/api/sessions/{session.key}", {}, format="json")
    assert answer.status_code == 404


def test_a_clock_that_is_ahead_does_not_bring_a_run_to_the_top(as_key):
    ahead = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    started = as_key(KeyKind.FULL).put(ADDRESS, {"started_at": ahead}, format="json").json()["started"]
    assert datetime.fromisoformat(started) <= datetime.now(UTC)


def test_an_old_run_keeps_its_start(as_key):
    answer = as_key(KeyKind.FULL).put(ADDRESS, {"started_at": "2026-01-02T03:04:05+01:00"}, format="json")
    assert answer.json()["started"] == "2026-01-02T02:04:05Z"


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01T00:00:00+14:00", "99999-01-01", ""])
def test_an_absurd_start_is_no_reason_to_refuse(ingest, text):
    assert ingest.put(ADDRESS, {"started_at": text}, format="json").status_code == 201


def test_patch_merges_mappings(session, as_key):
    address, program = f"/api/sessions/{session.key}", as_key(KeyKind.FULL)
    program.patch(address, {"hyperparameters": {"batch": 32}, "tags": ["a"]}, format="json")
    answer = program.patch(address, {"hyperparameters": {"lr": 0.02}, "run_name": "renamed"}, format="json")
    body = answer.json()
    assert body["hyperparameters"] == {"lr": 0.02, "batch": 32}
    assert (body["name"], body["tags"]) == ("renamed", ["a"])


@pytest.mark.parametrize("name", ["hyperparameters", "environment", "config"])
def test_patches_do_not_pile_up_without_end(name, session, ingest, monkeypatch):
    monkeypatch.setattr(lifecycle, "MAX_MERGED_BYTES", 250)
    texts = [{name: {f"key{number}": "x" * 100}} for number in range(3)]
    answers = [ingest.patch(f"/api/sessions/{session.key}", text, format="json") for text in texts]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[-1].json()["path"] == f"$.{name}"
    session.refresh_from_db()
    assert {"key0", "key1"} <= getattr(session, name).keys() and "key2" not in getattr(session, name)


def test_a_non_finite_hyperparameter_is_spelled(session, as_key):
    answer = as_key(KeyKind.FULL).patch(
        f"/api/sessions/{session.key}", '{"hyperparameters": {"clip": Infinity}}', content_type="application/json"
    )
    assert answer.json()["hyperparameters"]["clip"] == "inf"


def test_the_model_is_kept_with_fields_of_newer_clients(session, ingest):
    body = {
        "model_class": "Net",
        "total_parameters": 10,
        "layers": {"fc": {"type": "Linear", "parameters": 10}},
        "quantized": True,
    }
    for _ in range(2):
        assert ingest.put(f"/api/sessions/{session.key}/model", body, format="json").status_code == 200
    session.refresh_from_db()
    assert session.model.architecture["quantized"] is True
    assert session.model.record().layers["fc"].parameters == 10


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"total_parameters": 2**63}, id="more parameters than fit"),
        pytest.param({"layers": {"x" * 501: {"type": "Linear"}}}, id="a name of 501 letters"),
        pytest.param({"layers": {str(n): {"type": "Linear"} for n in range(20_001)}}, id="20,001 layers"),
    ],
)
def test_an_absurd_model_is_refused(session, ingest, body):
    assert ingest.put(f"/api/sessions/{session.key}/model", body, format="json").status_code == 400


@pytest.mark.parametrize("method", ["put", "patch"])
def test_an_ingest_key_is_told_nothing_that_it_could_read(session, ingest, method):
    body = getattr(ingest, method)(f"/api/sessions/{session.key}", {}, format="json").json()
    assert set(body) == {"id", "key", "name", "status", "project", "url"}


@pytest.mark.parametrize(
    ("method", "door", "body"),
    [("patch", "", {}), ("put", "/model", {}), ("post", "/epochs", []), ("post", "/logs", []), ("post", "/finish", {})],
)
def test_a_number_that_can_be_guessed_is_no_way_to_write(session, ingest, method, door, body):
    answer = getattr(ingest, method)(f"/api/sessions/{session.pk}{door}", body, format="json")
    assert answer.status_code == 404


def test_a_session_that_a_stranger_opens_at_the_same_moment_stays_hidden(project, charlies_project, monkeypatch):
    find = lifecycle.find_project

    def slowly(**asked):
        TrainSession.objects.create(project=charlies_project, key=KEY, name="Charlie's")
        return find(**asked)

    monkeypatch.setattr(lifecycle, "find_project", slowly)
    with pytest.raises(NotFound):
        open_session(Opening(key=KEY), user=None, key=ApiKey(project=project, kind=KeyKind.INGEST))
