"""The guide's examples (sections 10.2 to 10.4) as a reader pastes them: only the address differs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import requests

from projects.models import DEFAULT_PROJECT_ID
from sessions.models import TrainSession
from sessions.services import store_epochs

EXAMPLES = Path(__file__).parent / "guide"
ADDRESS = "http://localhost:8000"


def example(name, address=ADDRESS):
    text = (EXAMPLES / name).read_text()
    return text.replace(ADDRESS, address)


@pytest.fixture
def training(transactional_db):
    """Session 123 of project 1, as the guide's examples name them, without any epoch yet."""
    return TrainSession.objects.create(pk=123, project_id=DEFAULT_PROJECT_ID, name="digits")


@pytest.fixture
def address(live_server, open_mode, work_at_once, monkeypatch, training):
    """A server that is open to this machine and has a session 123."""
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    return live_server.url


def send(session, losses, **fields):
    records = [{"epoch": epoch, "loss": loss, **fields} for epoch, loss in enumerate(losses)]
    store_epochs(session, [json.dumps(record).encode() for record in records])


def healthy(epochs):
    return [{"train_mean": 1 / (1 + epoch), "val": {"val_loss": 1.1 / (1 + epoch)}} for epoch in range(epochs)]


def exploding():
    return [*healthy(6), {"train_mean": 60.0}]


def wasteful():
    return [*healthy(10), *({"train_mean": 0.1, "val": {"val_loss": 0.2 + 0.01 * epoch}} for epoch in range(50))]


def test_python_client_prints_a_report(address, training, capsys):
    send(training, exploding())
    exec(example("10_2.txt", address), {})
    said = capsys.readouterr().out
    assert "Health Score: " in said
    assert "CRITICAL: Loss explosion" in said
    assert "Fix: " in said


def test_python_client_prints_what_was_wasted(address, training, capsys):
    carbon = {"epoch_co2_kg": 0.01, "epoch_energy_kwh": 0.1}
    send(training, wasteful(), duration_seconds=10.0, carbon_emissions=carbon)
    exec(example("10_2.txt", address), {})
    said = capsys.readouterr().out
    assert "epochs earlier!" in said
    assert "Wasted CO2: " in said


def test_curl_lines_answer(address, training):
    send(training, exploding())
    script = "set -e\n" + example("10_3.txt", address).replace("curl ", "curl --silent --fail --write-out '\\n' ")
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
    run, health, trend = map(json.loads, said.strip().splitlines())
    assert run["health_score"] == health["health_score"]
    assert trend["project_id"] == 1


def test_result_can_be_interpreted_in_code(address, training, capsys):
    send(training, exploding())
    names = {}
    exec(example("10_4.txt"), names)
    result = requests.post(f"{address}/diagnostics/sessions/123/run", timeout=30).json()
    assert names["should_stop_early"](result) is True
    names["fix_issues"](result)
    assert "SUGGESTION: Add gradient clipping!" in capsys.readouterr().out


def test_healthy_result_goes_on(address, training):
    send(training, healthy(8))
    names = {}
    exec(example("10_4.txt"), names)
    result = requests.post(f"{address}/diagnostics/sessions/123/run", timeout=30).json()
    assert names["should_stop_early"](result) is False
