from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mldiag.cli.demo_server import Server, ServerFailed

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 170
# One worker runs them all, so that the demo itself runs once.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(SECONDS), pytest.mark.xdist_group("demo")]


def demo(home, *words):
    # The server of the demo is configured by nobody but the demo.
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "mldiag.cli", "demo", "--home", str(home), "--port", "0", *words],
        cwd=REPOSITORY,
        env=kept | {"COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The demo, run once from beginning to end."""
    process = demo(tmp_path_factory.mktemp("demo"), "--exit")
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def test_demo_ends_well(ended):
    code, _, err = ended
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        "epoch 19 (20/20)",
        "epoch 23 (24/24)",
        "loss-explosion",
        "memory-growth",
        "early-stop-opportunity",
        "of energy",
        "/sessions/",
    ],
)
def test_demo_shows(ended, words):
    assert words in ended[1]


def test_demos_healthy_run_is_healthy(ended):
    healthy = ended[1].partition("digits, healthy")[2].partition("digits, planted faults")[0]
    score = int(healthy.partition("Health")[2].partition("/100")[0])
    assert score >= 80
    assert "CRITICAL" not in healthy


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_a_demo_that_is_stopped_takes_its_server_with_it(tmp_path, sent):
    with demo(tmp_path) as process:
        url = next(line for line in process.stdout if line.startswith("Server: ")).split()[1]
        process.send_signal(sent)
        assert process.wait(timeout=SECONDS) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5)


def test_the_demos_server_answers_until_the_context_ends(tmp_path):
    with Server(tmp_path, 0) as server:
        assert server.get("/api/projects")["count"] >= 1
    with pytest.raises(ServerFailed, match="did not answer"):
        server.get("/api/projects")


def test_a_taken_port_is_reported(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ("--exit", "--home", str(tmp_path), "--port", str(taken.getsockname()[1]))
        command = [sys.executable, "-m", "mldiag.cli", "demo", *words]
        ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 1
    assert "did not start" in ended.stderr
