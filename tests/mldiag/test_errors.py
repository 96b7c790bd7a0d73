from __future__ import annotations

import pytest

from mldiag.errors import server_error


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/nothing", "nothing at /api/nothing."),
        ("/api/sessions/", "no slash"),
        ("/diagnostics/runs/x", "nothing at /diagnostics/runs/x."),
    ],
)
def test_a_program_is_told_in_json(api, db, path, said):
    answer = api.get(path)
    assert (answer.status_code, said in answer.json()["detail"]) == (404, True)


def test_people_get_a_page(client, db):
    answer = client.get("/nothing")
    assert (answer.status_code, "text/html" in answer.headers["Content-Type"]) == (404, True)


@pytest.mark.parametrize(("path", "kind"), [("/api/projects", "application/json"), ("/projects/1", "text/html")])
def test_a_fault_of_ours_is_said_in_their_language(rf, path, kind):
    answer = server_error(rf.get(path))
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (500, kind)
