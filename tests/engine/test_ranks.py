"""Trainings on several processes."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, held_back


def compared(*diverged):
    told = {"parameters": 10, "parameters_diverged": 4, "first_diverged": 2}
    return Run.from_epochs([{"ranks": None if each is None else {**told, "diverged": each}} for each in diverged])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("diverged", "epoch"),
    [
        pytest.param([1], 0, id="from the start"),
        pytest.param([0, 0, 3, 3], 2, id="later"),
        pytest.param([1, 0, 1], 2, id="made alike once"),
        pytest.param([None, 1, None], 1, id="not told each time"),
    ],
)
def test_ranks_that_diverged(diverged, epoch, profile):
    (issue,) = found("ranks-diverged", compared(*diverged), profile)
    assert (issue.epoch_index, str(issue.severity)) == (epoch, "critical")
    assert "rank 2" in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("diverged", [[0], [0, 0, 0], [2, 0], [1, None, 0], [None]], ids=str)
def test_ranks_that_are_alike(diverged, profile):
    assert found("ranks-diverged", compared(*diverged), profile) == []


def paced(*lags, step=0.1, work=0.02, slowest=(1,)):
    rows = [
        {
            "slowest": slowest[row % len(slowest)],
            "slowest_work_seconds": work + lag,
            "others_work_seconds": work,
            "step_seconds": step,
        }
        for row, lag in enumerate(lags)
    ]
    return Run.from_epochs([{"ranks": row} for row in rows])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "lags",
    [
        pytest.param([0.03] * 3, id="three windows"),
        pytest.param([0.0, 0.0, 0.05, 0.05, 0.05, 0.05], id="from the third on"),
        pytest.param([0.05, 0.0, 0.05, 0.05], id="most windows"),
    ],
)
def test_a_straggler(lags, profile):
    (issue,) = found("rank-straggler", paced(*lags), profile)
    assert (issue.metric_value, str(issue.severity)) == (1, "warning")


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(paced(0.0, 0.0, 0.0, 0.0), id="even"),
        pytest.param(paced(0.01, 0.01, 0.01, 0.01), id="a tenth of a step"),
        pytest.param(paced(0.02, 0.02, 0.02, step=0.1, work=0.3), id="little beside the work"),
    ],
)
def test_no_straggler(run, profile):
    assert found("rank-straggler", run, profile) == []


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(paced(0.05, 0.05), id="two windows"),
        pytest.param(paced(0.05, 0.05, 0.05, 0.0, 0.0, 0.0, 0.0), id="a bad start"),
        pytest.param(paced(*[0.05] * 4, slowest=(0, 1)), id="now one, now the other"),
        pytest.param(paced(*[0.0005] * 6, step=0.001, work=0.0003), id="half a millisecond"),
    ],
)
def test_a_straggler_by_chance(run):
    assert found("rank-straggler", run) == [] and held_back("rank-straggler", run)
    assert len(found("rank-straggler", run, "guide")) == 1
