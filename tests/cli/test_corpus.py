"""Real exported runs and what is expected of them. ``UPDATE=1 pytest tests/cli/test_corpus.py`` writes it anew."""

from __future__ import annotations

import json
import os

import pytest

from tests.cli.conftest import RUNS


def findings(report):
    """What was found, a line each: severity, check, epoch, layer."""
    return [
        f"{each['severity']} {each['check_id']} epoch={each['epoch_index']} layer={each['layer_id']}"
        for each in report["issues"]
    ]


@pytest.mark.parametrize("run", sorted(RUNS.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", ["robust", "guide"])
def test_findings_are_as_expected(cli, run, profile):
    (report,) = json.loads(cli("check", run, "--format", "json", "--profile", profile).out)["files"]
    found = "\n".join([f"score {report['health_score']}", *findings(report)]) + "\n"
    expected = run.with_suffix(f".{profile}.txt")
    if os.environ.get("UPDATE") == "1":
        expected.write_text(found)
    assert found == expected.read_text()


def test_a_healthy_run_has_no_warning():
    found = (RUNS / "digits_healthy.robust.txt").read_text()
    assert "critical" not in found
    assert "warning" not in found


@pytest.mark.parametrize("fault", ["loss-explosion", "memory-growth", "early-stop-opportunity"])
def test_planted_faults_are_found(fault):
    assert fault in (RUNS / "digits_faulty.robust.txt").read_text()


def test_the_forgotten_frozen_layer_is_on_record():
    run = json.loads((RUNS / "digits_faulty.json").read_bytes())
    assert run["architecture"]["layers"]["conv1"]["trainable"] is False
