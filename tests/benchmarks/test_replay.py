from __future__ import annotations

import json

import pytest

from benchmarks.detection.replay import Log, alarms, detected, named_first, read_logs
from diagnostics.engine import CHECKS, Policy
from mldiag.cli.judging import judge
from mldiag.cli.readers import read

LOGS = read_logs()
FALLING = [2.0, 1.5, 1.2, 1.0]
MADE = {"name": "made up", "source": "this test", "judged": "for its form"}


def test_logs_are_of_both_kinds_and_from_many_places():
    assert sum(log.healthy for log in LOGS) >= 12 and sum(not log.healthy for log in LOGS) >= 6
    assert len({log.source for log in LOGS}) == len({log.name for log in LOGS}) == len(LOGS)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_a_log_is_whole(log):
    lines = len(log.loss)
    assert len(log.steps or log.loss) == lines and len(log.grad_norm) in (0, lines)
    assert {len(values) for values in log.eval.values()} <= {len(log.eval.get("step", ()))}
    assert bool(log.steps) != bool(log.every) and set(log.names) <= set(CHECKS)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_a_log_is_read_with_every_line(log):
    run = read(log.trainer_state())
    assert sum(len(epoch.steps.first) for epoch in run.epochs if epoch.steps) == len(log.loss)


def test_lines_are_dated_and_rates_interpolated():
    log = Log(
        **MADE, loss=FALLING, every=10, epoch=20, rate=[(10, 1e-3), (30, 2e-3)], eval={"step": [20], "loss": [1.4]}
    )
    entries = json.loads(log.trainer_state())["log_history"]
    assert [entry["step"] for entry in entries] == [10, 20, 20, 30, 40]
    assert [entry.get("learning_rate") for entry in entries] == pytest.approx([1e-3, 1.5e-3, None, 2e-3, 2e-3])
    assert entries[2] == {"step": 20, "epoch": 1.0, "eval_loss": 1.4}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(FALLING, (False, False)), ([2.0, 1.5, 1e9, 1e12], (True, True))],
    ids=["falls", "explodes"],
)
def test_what_counts_as_found(loss, expected):
    log = Log(**MADE, loss=loss, every=1, epoch=1, names=["loss-explosion"])
    report = judge(log.trainer_state(), Policy())[1]
    assert (detected(log, report), named_first(log, report)) == expected
    assert bool(alarms(report)) is expected[0]
