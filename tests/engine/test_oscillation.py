"""Progress that is made and thrown away."""

from __future__ import annotations

import math

import pytest

from tests.engine.tools import found, run_with

FALL = [math.exp(-epoch / 4) for epoch in range(8)]
SWINGS = [0.30, 0.55, 0.25, 0.70, 0.40, 0.90, 0.35, 0.60]


def validated(val, rate=None):
    return run_with(train=[2.0 * each for each in FALL + FALL[-1:] * 8][: len(val)], val=val, rate=rate or [0.1] * 16)


def test_oscillation():
    assert [issue.severity for issue in found("oscillation", validated(FALL + SWINGS))] == ["warning"]


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(validated(FALL + [0.2] * 8), id="settles"),
        pytest.param(validated(FALL + [0.30, 0.31, 0.29, 0.32, 0.30, 0.31, 0.28, 0.30]), id="jitter"),
        pytest.param(validated(FALL + [0.02, 0.05, 0.01, 0.06, 0.02, 0.07, 0.01, 0.05]), id="swings of a small loss"),
        pytest.param(validated(FALL + [0.3 * 1.4**epoch for epoch in range(8)]), id="overfitting"),
        pytest.param(validated(FALL + SWINGS, rate=[1, 0.1] * 8), id="warm restarts"),
        pytest.param(run_with(train=SWINGS[:6], val=SWINGS[:6]), id="too few"),
        pytest.param(run_with(train=FALL, val=[math.nan] * 8), id="nan"),
    ],
)
def test_silent(run):
    assert found("oscillation", run) == []


def test_a_loss_that_falls_by_leaps_has_further_to_go():
    leaps = [0.90, 0.70, 0.80, 0.50, 0.60, 0.30, 0.40, 0.20]
    assert found("oscillation", validated(FALL + leaps)) == []
