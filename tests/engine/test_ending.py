"""How a run ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnostics.engine import Run, diagnose
from tests.engine.tools import BOTH, found


def ended(logs=None, **ending):
    return replace(Run.from_epochs([{"loss": {"train_mean": 1.0}}], logs=logs), ending=ending or None)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("status", "reason", "severity", "says"),
    [
        ("crashed", "ValueError: no such label", "critical", "no such label"),
        ("crashed", "", "critical", "crashed."),
        ("killed", "SIGTERM", "info", "SIGTERM"),
    ],
)
def test_a_run_that_did_not_finish(status, reason, severity, says, profile):
    (issue,) = found("crash", ended(status=status, reason=reason), profile)
    assert str(issue.severity) == severity and says in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("run", [ended(), ended(status="finished"), ended(status="running"), ended(status=None)])
def test_a_run_that_did_not_crash(run, profile):
    assert found("crash", run, profile) == []


def test_a_known_error_gets_its_own_advice():
    (issue,) = found("crash", ended(status="crashed", reason="torch.OutOfMemoryError: CUDA out of memory."))
    assert "batch smaller" in issue.suggestion and issue.evidence["class"] == "GPU out of memory"


def test_the_logged_traceback_follows_from_the_crash():
    lines = [{"msg": "Traceback (most recent call last):\nValueError: no", "level": "CRITICAL", "kind": "error"}]
    issues = diagnose(ended(lines, status="crashed", reason="ValueError: no")).issues
    assert {issue.check_id: issue.caused_by for issue in issues} == {"crash": None, "error-logs": "crash"}


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("seconds", "says"), [(400, "7 minutes"), (90_000, "25 hours")])
def test_a_run_that_went_silent(seconds, says, profile):
    (issue,) = found("run-went-silent", ended(silent_seconds=seconds), profile)
    assert str(issue.severity) == "critical" and says in issue.description


@pytest.mark.parametrize("run", [ended(), ended(status="crashed", reason="x"), ended(silent_seconds=0)])
def test_a_run_that_is_not_silent(run):
    assert found("run-went-silent", run) == []
