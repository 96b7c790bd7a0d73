"""Validation loss against training loss."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds
from tests.engine.tools import BOTH, epochs_hit, found, held_back, run_with

TRAIN = [2.0 * 0.8**epoch for epoch in range(14)]
OVERFIT = [2.0, 1.5, 1.2, 1.0, 0.95, 1.0, 1.05, 1.12, 1.2, 1.27, 1.33, 1.4, 1.48, 1.55]
HEALTHY = [2.0 * 0.85**epoch + 0.1 for epoch in range(14)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [
        pytest.param([2.5, 2.3, 2.1], [2.6, 2.7, 3.0], [1], id="guide's figures"),
        pytest.param([2.5, 2.3, 2.1], [2.6, 2.7, 2.5], [], id="once is chance"),
        pytest.param([2.5, 2.7, 2.9], [2.6, 2.7, 3.0], [], id="both rise"),
        pytest.param([2.5, None, 2.1], [2.6, 2.7, 3.0], [], id="gap in the log"),
        pytest.param(TRAIN, HEALTHY, [], id="healthy"),
        pytest.param(TRAIN, OVERFIT, [5], id="long"),
    ],
)
def test_overfitting(train, val, expected, profile):
    assert epochs_hit(found("overfitting", run_with(train=train, val=val), profile)) == expected


NOISY = [1.0 + 0.01 * (-1) ** epoch for epoch in range(14)]


@pytest.mark.parametrize(
    ("train", "val", "reason"),
    [
        pytest.param([2.5, 2.3, 2.1], [2.60, 2.61, 2.62], "less than", id="short, but hardly a rise"),
        pytest.param(TRAIN, NOISY, "above its best", id="noise"),
        pytest.param(TRAIN, [*HEALTHY[:-2], 0.9, 1.4], "no significant trend", id="the last two only"),
        pytest.param([*TRAIN[:5], *[1.1, 1.05] * 4, 1.1], OVERFIT, "has not fallen", id="train stands"),
    ],
)
def test_overfitting_is_held_back(train, val, reason):
    run = run_with(train=train, val=val)
    assert reason in held_back("overfitting", run)[0]
    assert found("overfitting", run) == [] and found("overfitting", run, "guide")


@pytest.mark.parametrize(("last", "severity"), [(0.9, "info"), (0.7, "warning")])
def test_gaining_accuracy_makes_it_information(last, severity):
    accuracy = np.linspace(0.7, last, 14).tolist()
    (issue,) = found("overfitting", run_with(train=TRAIN, val=OVERFIT, accuracy=accuracy))
    assert issue.severity == severity


def test_negative_losses_are_judged_by_what_was_gained():
    val = [value - 3 for value in OVERFIT]
    assert found("overfitting", run_with(train=[value - 3 for value in TRAIN], val=val))


def test_coin_flips_are_silent():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        val = 1.0 + 0.05 * rng.normal(size=30)
        train = np.linspace(1, 0.5, 30)
        assert found("overfitting", run_with(train=train.tolist(), val=val.tolist())) == []


def test_overfitting_follows_its_threshold():
    run = run_with(train=[2.5, 2.3, 2.1], val=[2.6, 2.7, 3.0])
    assert found("overfitting", run, limits=DiagnosticThresholds(overfitting_epochs=3)) == []


def test_a_rise_that_loses_half_of_a_small_gain_is_information():
    val = [3.30, 3.20, 3.12, 3.06, 3.02, 3.00, 3.03, 3.07, 3.12, 3.16, 3.20, 3.24]
    (issue,) = found("overfitting", run_with(train=np.linspace(3.3, 2.4, 12).tolist(), val=val))
    assert (str(issue.severity), issue.evidence["best_epoch"]) == ("info", 4)


@pytest.mark.parametrize(
    ("train", "val", "severities"),
    [
        pytest.param([0.83, 0.72, 0.62], [0.80, 0.80, 0.91], ["info"], id="rises at last"),
        pytest.param([0.83, 0.62], [0.80, 0.91], ["info"], id="two epochs"),
        pytest.param([0.83, 0.72, 0.62], [0.80, 0.78, 0.82], [], id="a little"),
        pytest.param([0.83, 0.72, 0.75], [0.80, 0.80, 0.91], [], id="training rises as well"),
        pytest.param([0.83, 0.72, 0.62], [0.90, 0.95, 0.80], [], id="came down"),
    ],
)
def test_a_single_rise_of_a_very_short_run(train, val, severities):
    assert [str(issue.severity) for issue in found("overfitting", run_with(train=train, val=val))] == severities
