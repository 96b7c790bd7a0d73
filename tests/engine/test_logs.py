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
        ("RuntimeError: CUDA error: device-side assert triggered", "device-side assert", "critical"),
        ("../aten/src/ATen/native/cuda/Indexing.cu:1289: block: [0,0,0] failed.", "device-side assert", "critical"),
        ("CUDA error: an illegal memory access was encountered", "CUDA", "critical"),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "CUDA", "critical"),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "GPU out of memory", "critical"),
        ("NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.", "GPU hardware", "critical"),
        ("CUDA error: uncorrectable ECC error encountered", "GPU hardware", "critical"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:", "NCCL or distributed", "critical"),
        ("DataLoader worker (pid 41) is killed by signal: Bus error.", "data loader worker", "critical"),
        (
            "slurmstepd: error: *** JOB 7 CANCELLED AT 2026-01-01 DUE TO PREEMPTION ***",
            "preemption or time limit",
            "critical",
        ),
        ("OSError: [Errno 30] Read-only file system: '/data/x.pt'", "permission", "critical"),
        ("Watchdog caught collective operation timeout: NCCL", "NCCL or distributed", "critical"),
        ("OSError: [Errno 28] No space left on device", "disk full", "critical"),
        ("JOB 5 CANCELLED DUE TO TIME LIMIT", "preemption or time limit", "critical"),
        ("loss is nan, stopping", "NaN or infinity", "warning"),
        ("DataLoader worker (pid 7) exited unexpectedly", "data loader worker", "critical"),
        ("PIL.UnidentifiedImageError: cannot identify image file 'x.jpg'", "data loader", "warning"),
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


TIMEOUT = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)"
WORKER = "RuntimeError: DataLoader worker (pid(s) 7) exited unexpectedly"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.mark.parametrize(
    ("messages", "root", "cascade"),
    [
        pytest.param([TIMEOUT, OOM], "GPU out of memory", False, id="timeout seen before its cause"),
        pytest.param([OOM, TIMEOUT, TIMEOUT], "GPU out of memory", False, id="cause first"),
        pytest.param(["slurmstepd: 1 oom-kill event", WORKER], "out of memory", False, id="worker killed"),
        pytest.param([TIMEOUT, TIMEOUT], "NCCL or distributed", True, id="echoes only"),
        pytest.param(["Traceback (most recent call last)", OOM], "GPU out of memory", False, id="bare traceback"),
        pytest.param(["a plot failed", "another"], "other", False, id="nothing grave"),
    ],
)
def test_root_and_cascade(messages, root, cascade):
    (issue,) = check_error_logs([error(each) for each in messages])
    assert (issue.evidence["class"], issue.evidence["cascade"]) == (root, cascade)
    assert ("on every rank" in issue.description) is cascade


def test_echoes_are_counted():
    (issue,) = check_error_logs([error(OOM), error(TIMEOUT), error(TIMEOUT)])
    assert issue.description.endswith("2 of the others are its echo.")


def test_time_is_that_of_the_root():
    (issue,) = check_error_logs([error(TIMEOUT, ts="late"), error(OOM, ts="later")])
    assert issue.evidence["ts"] == "later" and issue.evidence["first"] == TIMEOUT
