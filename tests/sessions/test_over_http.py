"""Bodies as a real server gets them: in chunks, or far too many."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from uuid import uuid4

import pytest

from tests.conftest import epoch_record
from tests.temporary.process import free_port

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("http")]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    variables = {"MLDIAG_HOME": str(home), "DATABASE_URL": f"sqlite:///{home}/db.sqlite3", "MLDIAG_AUTH": "open"}
    environment = {**os.environ, **variables, "REDIS_URL": "", "TMPDIR": str(home)}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], env=environment, check=True)
    chosen = free_port()
    command = [sys.executable, "-m", "uvicorn", "mldiag.asgi:application", "--port", str(chosen), "--lifespan", "off"]
    command += ["--log-level", "critical"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    _await(chosen)
    yield chosen
    server.terminate()
    server.wait(30)


def _await(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return request(port, "GET", "/api/projects")
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not answer")


def request(port, method, path, body=None):
    """Send a request; a body that is an iterator goes in chunks."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def address(port):
    path = f"/api/sessions/{uuid4()}"
    assert request(port, "PUT", path, "{}")[0] == 201
    return path


def test_a_chunked_body_is_read(port, address):
    body = json.dumps([epoch_record(1), epoch_record(2)]).encode()
    chunks = (body[start : start + 100] for start in range(0, len(body), 100))
    status, answer = request(port, "POST", f"{address}/epochs", chunks)
    assert (status, len(answer["results"])) == (200, 2)


def test_a_chunked_body_opens_a_session(port):
    path = f"/api/sessions/{uuid4()}"
    status, answer = request(port, "PUT", path, iter([b'{"run_name":', b' "in two parts"}']))
    assert (status, answer["name"]) == (201, "in two parts")


def test_a_chunked_body_makes_a_project(port):
    status, answer = request(port, "POST", "/api/projects", iter([b'{"name":', b' "in two parts"}']))
    assert (status, answer["name"]) == (201, "in two parts")


def test_a_chunked_body_says_how_to_diagnose(port, address):
    number = request(port, "GET", address)[1]["id"]
    status, answer = request(port, "POST", f"/diagnostics/sessions/{number}/run", iter([b'{"profile": "nonsense"}']))
    assert (status, answer["path"]) == (400, "$.profile")


@pytest.mark.parametrize("chunked", [False, True])
def test_fifty_megabytes_are_refused_by_name(port, address, chunked):
    body = b" " * 50_000_000
    sent = iter([body]) if chunked else body
    status, answer = request(port, "POST", f"{address}/epochs", sent)
    assert (status, "33,554,432 bytes" in answer["detail"]) == (413, True)


def test_a_body_that_ends_too_early_stores_nothing(port, address):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", f"{address}/epochs")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100000")
    connection.endheaders(json.dumps([epoch_record(1)]).encode())
    connection.close()
    assert request(port, "GET", f"{address}/epochs")[1]["count"] == 0
