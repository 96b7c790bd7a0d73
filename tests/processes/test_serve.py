"""The embedded server as a user starts it: one process, one command."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
from websockets.sync.client import connect

from tests.processes.machinery import PATIENCE, REPOSITORY, Client, environment, serving, until

pytestmark = pytest.mark.processes


def refused(home, *arguments, **variables):
    """Run a server that must not start; returns its exit code and what it said."""
    command = [sys.executable, "manage.py", "serve", *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(home, **variables), capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stderr


def test_one_command_serves_and_diagnoses(tmp_path):
    with serving(tmp_path) as (_, url):
        client = Client(url)
        session = client.open_session()
        client.send_epochs(range(8))
        client.finish()
        until(lambda: client.get(f"/api/sessions/{session}")["health_score"] is not None, "the diagnosis")
        found = [issue["check_id"] for issue in client.get(f"/diagnostics/sessions/{session}/health")["top_issues"]]
        assert "nan-in-loss" in found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_stops_soon_and_without_an_error(tmp_path, number):
    with serving(tmp_path) as (server, url):
        assert requests.get(f"{url}/diagnostics/sessions/1/health", timeout=10).status_code == 404
        began = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - began < 10
        assert "Traceback" not in server.said()


def test_says_one_line(tmp_path):
    with serving(tmp_path) as (server, url):
        Client(url).open_session()
        assert server.said().splitlines() == [f"mldiag is at {url} (open to this machine; Ctrl-C stops it)"]


def test_taken_port_is_explained(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, said = refused(tmp_path, "--port", str(other.getsockname()[1]))
    assert code != 0
    assert "Is another server running there?" in said
    assert "Traceback" not in said


def test_open_server_is_refused_where_others_reach_it(tmp_path):
    code, said = refused(tmp_path, "--host", "0.0.0.0", "--port", "0", MLDIAG_AUTH="open")
    assert code != 0
    assert "MLDIAG_AUTH=open lets everybody" in said


def test_login_is_required_where_others_reach_it(tmp_path):
    with serving(tmp_path, "--host", "0.0.0.0") as (server, url):
        assert requests.get(f"{url}/diagnostics/sessions/1/health", timeout=10).status_code == 401
        assert "login required" in server.said()


def test_explicit_access_is_kept(tmp_path):
    with serving(tmp_path, MLDIAG_AUTH="required") as (_, url):
        assert requests.get(f"{url}/diagnostics/sessions/1/health", timeout=10).status_code == 401


def test_killed_server_loses_no_epoch_and_no_diagnosis(tmp_path):
    """kill -9 in the middle of ingest; the client sends again what it has no answer for."""
    acknowledged: list[int] = []
    with serving(tmp_path) as (server, url):
        session = Client(url).open_session()
        sender = threading.Thread(target=send_until_it_breaks, args=(url, acknowledged))
        sender.start()
        until(lambda: len(acknowledged) >= 20, "some epochs")
        server.kill()
        sender.join()

    with serving(tmp_path) as (_, url):
        client = Client(url)
        again = client.send_epochs(range(len(acknowledged) + 10))
        assert [each["status"] for each in again[: len(acknowledged)]] == ["duplicate"] * len(acknowledged)
        client.finish()
        epochs = client.get(f"/api/sessions/{session}/epochs?page_size=500")
        assert epochs["count"] == len(again)
        done = until(lambda: diagnosis_of(client, session, len(again)), "the diagnosis")
        assert done["summary_json"]["severity_breakdown"]["critical"] >= 1


def send_until_it_breaks(url, acknowledged):
    client = Client(url)
    with contextlib.suppress(requests.RequestException):
        for number in itertools.count():
            client.send_epochs(range(number, number + 1))
            acknowledged.append(number)


def diagnosis_of(client, session, epochs):
    """Return the session's only run once it is done with all of its epochs."""
    (run,) = client.get(f"/diagnostics/sessions/{session}")["results"]
    return run["state"] == "done" and run["epoch_count"] == epochs and run


def test_an_open_page_does_not_keep_it_from_stopping(tmp_path):
    with serving(tmp_path) as (server, url):
        session = Client(url).open_session()
        with connect(f"{url.replace('http', 'ws')}/ws/sessions/{session}", proxy=None) as page:
            page.recv(timeout=PATIENCE)
            assert server.stop() == 0
        assert "Traceback" not in server.said()
