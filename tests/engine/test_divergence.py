"""A training loss that keeps rising."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds
from tests.engine.tools import BOTH, epochs_hit, found, held_back, run_with

FALL = [2.3, 1.6, 1.1, 0.8, 0.6]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([2.5, 2.7, 3.0], [2], id="guide's figures"),
        pytest.param([2.5, 2.7, 2.6, 2.8], [], id="never twice in a row"),
        pytest.param([2.5, 2.7, 2.7], [], id="level is not a rise"),
        pytest.param([2.5, 2.7], [], id="too short"),
        pytest.param([2.5, 2.7, None, 3.0], [], id="gap in the log"),
        pytest.param([2.5, math.nan, 3.0, 3.5], [], id="nan in between"),
        pytest.param([*FALL, 0.9, 1.3, 1.8], [6], id="late"),
        pytest.param([1.0, 2.0, 3.0, 0.5, 1.0, 2.0, 3.0], [2], id="first occurrence only"),
    ],
)
def test_loss_divergence(losses, expected, profile):
    if profile == "robust" and losses[3:4] == [0.5]:
        expected = [5]  # the first rise was won back at once
    assert epochs_hit(found("loss-divergence", run_with(train=losses), profile)) == expected


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"train": [*FALL, 0.601, 0.603, 0.5]}, "not above", id="too small"),
        pytest.param({"train": [*FALL, 1.2, 1.8, 0.6, 0.5]}, "won back by epoch 7", id="recovered"),
        pytest.param(
            {"train": [1.0, 1.1, 1.3], "std": [2.0] * 3, "batches": [25] * 3}, "(noise)", id="within the noise"
        ),
        pytest.param({"train": [*FALL, 0.65, 0.7]}, "not above", id="a tenth of the descent"),
    ],
)
def test_divergence_is_held_back(columns, reason):
    run = run_with(**columns)
    assert reason in held_back("loss-divergence", run)[0]
    assert found("loss-divergence", run) == [] and found("loss-divergence", run, "guide")


@pytest.mark.parametrize(
    ("rate", "severity"), [([0.01, 0.02, 0.04], "info"), ([0.04, 0.02, 0.01], "warning"), ([None] * 3, "warning")]
)
def test_rising_learning_rate_makes_it_information(rate, severity):
    (issue,) = found("loss-divergence", run_with(train=[2.5, 2.7, 3.0], rate=rate))
    assert issue.severity == severity


def test_slow_saw_tooth_rise_is_found():
    up = [1.0 + 0.05 * epoch + (0.06 if epoch % 2 else 0.0) for epoch in range(16)]
    run = run_with(train=up)
    assert found("loss-divergence", run, "guide") == []
    assert "drifted up" in found("loss-divergence", run)[0].description


@pytest.mark.parametrize("level", [0.01, 0.02, 0.04])
def test_noise_is_as_good_as_silent(level):
    def losses(seed):
        return (1.0 + level * np.random.default_rng(seed).normal(size=30)).tolist()

    guide = sum(bool(found("loss-divergence", run_with(train=losses(seed)), "guide")) for seed in range(100))
    robust = sum(bool(found("loss-divergence", run_with(train=losses(seed)))) for seed in range(100))
    assert guide > 90 and robust <= 1


@pytest.mark.parametrize("later", [[], [0.5]], ids=["at the end", "followed by calm"])
def test_jump_of_a_short_run_is_not_its_own_excuse(later):
    assert found("loss-divergence", run_with(train=[2.3, 1.6, 1.1, 0.9, 0.8, 1.4, 2.4, *[2.3] * len(later)]))


def test_divergence_follows_its_threshold():
    run = run_with(train=[2.5, 2.7, 3.0])
    assert found("loss-divergence", run, limits=DiagnosticThresholds(divergence_epochs=3)) == []


def test_many_rises_do_not_read_the_run_many_times():
    noise = np.random.default_rng(0).normal(0, 0.3, 2000)
    run = run_with(train=(1 + np.abs(noise)).tolist())
    assert found("loss-divergence", run) == [] and len(held_back("loss-divergence", run)) == 1
    assert sum("doubt" in name for name in run.memory) <= 2
