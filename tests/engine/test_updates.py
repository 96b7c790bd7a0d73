"""Clipping and the gradient scaler."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, epochs_hit, found, held_back


def clipped(*shares):
    return Run.from_epochs([{"gradients": {"clipped_share": share}} for share in shares])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("shares", "first"),
    [
        pytest.param([1.0], [0], id="one epoch"),
        pytest.param([0.9, 0.8, 0.7, 0.6], [0], id="to the end"),
        pytest.param([0.1, 0.6, 0.6, 0.6], [1], id="from the second on"),
    ],
)
def test_most_gradients_clipped(shares, first, profile):
    (issue,) = found("clipping-fraction", clipped(*shares), profile)
    assert (epochs_hit([issue]), str(issue.severity)) == (first, "info")


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("shares", [[0.5], [0.1, 0.3], [None, None], [float("nan")]], ids=str)
def test_some_gradients_clipped(shares, profile):
    assert found("clipping-fraction", clipped(*shares), profile) == []


def test_clipping_at_the_start_is_what_it_is_for():
    run = clipped(1.0, 0.8, 0.2, 0.1)
    assert found("clipping-fraction", run) == [] and "second half" in held_back("clipping-fraction", run)[0]
    assert len(found("clipping-fraction", run, "guide")) == 1


def scaled(skipped, updates=100, scale=65536.0):
    rows = [{"scale": scale, "updates": updates, "skipped": each} for each in skipped]
    return Run.from_epochs([{"loss_scale": row} for row in rows])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("skipped", "epoch", "severity"),
    [
        pytest.param([100, 100, 100], 0, "critical", id="every step"),
        pytest.param([3, 30, 30], 1, "warning", id="later on"),
        pytest.param([15, 0, 0, 100], 3, "critical", id="collapse at the end"),
    ],
)
def test_steps_are_thrown_away(skipped, epoch, severity, profile):
    (issue,) = found("amp-overflow", scaled(skipped), profile)
    assert (issue.epoch_index, str(issue.severity), issue.metric_value) == (epoch, severity, sum(skipped))


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "skipped",
    [
        pytest.param([0, 0], id="none"),
        pytest.param([20, 0], id="the search for a scale"),
        pytest.param([16, 1, 1, 1, 1], id="one now and then"),
        pytest.param([None, None], id="not logged"),
    ],
)
def test_a_scaler_that_finds_its_scale(skipped, profile):
    assert found("amp-overflow", scaled(skipped), profile) == []


def test_without_updates_nothing_is_thrown_away():
    assert found("amp-overflow", scaled([30], updates=0)) == []
