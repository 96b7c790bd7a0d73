"""Errors in the logs."""

from __future__ import annotations

import pytest

from diagnostics.engine import CHECKS, Run, check_error_logs, diagnose
from diagnostics.engine.thresholds import DEFAULTS
from observer_client.record import LogLine


def error(msg, **fields):
    return {"level": "ERROR", "msg": msg, **fields}


@pytest.mark.parametrize(
    ("message", "kind", "severity"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", "GPU out of memory", "critical"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "GPU out of memory", "critical"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", "out of memory", "critical"),
        ("MemoryError", "out of memory", "critical"),
        ("slurmstepd: error: Detected 1 oom-kill event", "out of memory", "critical"),
        ("RuntimeError: CUDA error: device-side assert triggered", "CUDA", "critical"),
        ("Watchdog caught collective operation timeout: NCCL", "NCCL or distributed", "critical"),
        ("OSError: [Errno 28] No space left on device", "disk full", "critical"),
        ("JOB 5 CANCELLED DUE TO TIME LIMIT", "preemption or time limit", "critical"),
        ("loss is nan, stopping", "NaN or infinity", "warning"),
        ("DataLoader worker (pid 7) exited unexpectedly", "data loader", "warning"),
        ("Traceback (most recent call last):\n ...\nKeyError: 'x'", "crash", "critical"),
        ("ValueError: shapes differ", "crash", "critical"),
        ("could not write the plot", "other", "warning"),
        ("the financial information is missing", "other", "warning"),
        ("", "other", "warning"),
    ],
)
def test_classifies(message, kind, severity):
    (issue,) = check_error_logs([error(message)])
    assert (issue.evidence["class"], issue.severity) == (kind, severity)


@pytest.mark.parametrize(
    ("line", "fires"),
    [
        (error("x"), True),
        ({"level": "critical", "msg": "x"}, True),
        ({"level": "FATAL", "msg": "x"}, True),
        ({"level": "INFO", "kind": "error", "msg": "x"}, True),
        (LogLine(msg="x", level="ERROR"), True),
        (LogLine(msg="CUDA out of memory"), False),
        ({"level": "WARNING", "msg": "error-prone"}, False),
        ({"msg": "no level"}, False),
        ({"level": 3, "msg": None}, False),
    ],
    ids=repr,
)
def test_what_counts_as_an_error(line, fires):
    assert bool(check_error_logs([line])) is fires


def test_counts_and_shows_the_first():
    (issue,) = check_error_logs([error("first"), error("second"), {"level": "INFO", "msg": "third"}])
    assert (issue.count, issue.metric_value) == (2, 2) and '"first"' in issue.description


def test_gravest_error_decides():
    (issue,) = check_error_logs([error("a plot failed"), error("CUDA out of memory")])
    assert issue.severity == "critical" and "a plot failed" in issue.description and "batch smaller" in issue.suggestion


def test_long_messages_are_cut():
    (issue,) = check_error_logs([error("x" * 100_000)])
    assert len(issue.description) < 500


def test_run_without_logs_is_skipped():
    assert CHECKS["error-logs"].missing(Run.from_epochs([])) == ["logs"]
    assert CHECKS["error-logs"](Run.from_epochs([], logs=[{"msg": "all well"}]), DEFAULTS) == []


@pytest.mark.parametrize(("logs", "skipped"), [(None, True), ([], False), (["no line"], False)])
def test_captured_logs_without_a_line_were_looked_at(logs, skipped):
    report = diagnose(Run.from_epochs([], logs=logs))
    assert ("error-logs" in report.skipped) is skipped and report.issues == []
