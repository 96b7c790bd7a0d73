"""The spread of batch losses within an epoch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, epochs_hit, epochs_with, found, held_back, run_with

FLAT = [1.0] * 6


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("train", "std", "expected"),
    [
        pytest.param([1.0], [0.6], [0], id="guide's figures"),
        pytest.param([1.0], [0.5], [], id="exactly half"),
        pytest.param([1.0], [None], [], id="no spread logged"),
        pytest.param([-1.0], [0.6], [], id="negative mean has no ratio"),
        pytest.param(FLAT, [0.1, 0.1, 0.7, 0.7, 0.1, 0.1], [2], id="two in a row"),
        pytest.param(FLAT, [0.1] * 6, [], id="calm"),
    ],
)
def test_high_loss_variance(train, std, expected, profile):
    issues = found("high-loss-variance", run_with(train=train, std=std), profile)
    assert epochs_hit(issues) == expected
    assert {issue.severity for issue in issues} <= {"warning"}


@pytest.mark.parametrize(
    ("train", "std", "reason"),
    [
        pytest.param(FLAT, [0.7, 0.1, 0.1, 0.1, 0.1, 0.1], "first epoch", id="first epoch"),
        pytest.param([2.0, 1.0, 0.5, 0.1, 0.05, 0.05], [0.1] * 6, "against the scale", id="mean near zero"),
    ],
)
def test_variance_is_held_back(train, std, reason):
    run = run_with(train=train, std=std)
    assert reason in held_back("high-loss-variance", run)[0]
    assert found("high-loss-variance", run) == [] and found("high-loss-variance", run, "guide")


@pytest.mark.parametrize(
    ("train", "std"),
    [
        pytest.param(FLAT, [0.1, 0.1, 0.7, 0.1, 0.1, 0.1], id="a single epoch"),
        pytest.param([2.0, 1.8, 1.5, 1.2, 1.0, 0.9], [0.1, 1.2, 1.2, 0.1, 0.1, 0.1], id="the mean falls all the same"),
    ],
)
def test_variance_is_information(train, std):
    assert [issue.severity for issue in found("high-loss-variance", run_with(train=train, std=std))] == ["info"]


@pytest.mark.parametrize(
    ("buckets", "fires"), [([2.0, 1.5, 0.5, 0.0], False), ([1.7, 0.3, 1.7, 0.3], True)], ids=["trend", "jitter"]
)
def test_trend_within_an_epoch_is_no_noise(buckets, fires):
    epochs = epochs_with(train=FLAT, std=[0.1, 0.7, 0.7, 0.7, 0.1, 0.1])
    for epoch in epochs:
        epoch["steps"] = {"loss_mean": buckets}
    assert bool(found("high-loss-variance", Run.from_epochs(epochs))) is fires


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("train", "largest", "expected"),
    [
        pytest.param([0.5], [15.0], [0], id="guide's figures"),
        pytest.param([0.5], [10.0], [], id="exactly twenty times"),
        pytest.param([2.0, 1.0, 0.5], [2.5, 1.5, 15.0], [2], id="after calm epochs"),
        pytest.param([-0.5], [15.0], [], id="negative mean has no ratio"),
        pytest.param([2.0, 1.0], [3.0, 2.0], [], id="healthy"),
    ],
)
def test_gradient_instability(train, largest, expected, profile):
    assert epochs_hit(found("gradient-instability", run_with(train=train, largest=largest), profile)) == expected


def test_hard_sample_late_in_training_is_held_back():
    run = run_with(train=[2.3, 0.5, 0.01], largest=[3.0, 2.0, 0.4])
    assert "first epoch" in held_back("gradient-instability", run)[0]
    assert found("gradient-instability", run) == []


def one_epoch(losses, largest=None):
    """Return a run of one epoch of these losses."""
    mean, std = float(np.mean(losses)), float(np.std(losses))
    loss = {"train_mean": mean, "train_std": std, "train_max": largest or max(losses), "n_batches": len(losses)}
    return Run.from_epochs([{"loss": loss, "steps": {"loss_mean": list(losses), "loss_max": list(losses)}}])


FALLING = [2.0 * math.exp(-step / 12) + 0.05 for step in range(100)]
JUMPING = [0.2 if step % 3 else 3.0 for step in range(100)]


@pytest.mark.parametrize(("losses", "fires"), [(FALLING, False), (JUMPING, True)], ids=["falling", "jumping"])
def test_one_epoch_is_judged_around_its_curve(losses, fires):
    assert bool(found("high-loss-variance", one_epoch(losses))) is fires
    assert found("high-loss-variance", one_epoch(losses), "guide")


@pytest.mark.parametrize(("largest", "fires"), [(2.05, False), (9.0, True)], ids=["the first step", "a wild batch"])
def test_first_steps_of_one_epoch_are_no_spike(largest, fires):
    losses = [2.05, 2.0, 1.5, 0.9, *[0.01] * 196]
    assert bool(found("gradient-instability", one_epoch(losses, largest))) is fires


@pytest.mark.parametrize(
    ("train", "severity"),
    [
        pytest.param([2.0, 1.2, 0.7, 0.6, 0.61, 0.6, 0.61], "info", id="keeps what it gained"),
        pytest.param([2.0, 1.2, 0.7, 1.3, 1.4, 1.5, 1.5], "warning", id="loses it again"),
        pytest.param([2.0, 1.99, 2.0, 1.98, 2.0, 1.99, 2.0], "warning", id="gains nothing"),
    ],
)
def test_noise_without_consequence_is_information(train, severity):
    (issue,) = found("high-loss-variance", run_with(train=train, std=[1.6] * 7))
    assert issue.severity == severity
