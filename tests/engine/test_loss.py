"""Explosion and plateau of the training loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds
from tests.engine.tools import BOTH, epochs_hit, found, held_back, linear, network, run_with

DESCENT = [2.3, 1.5, 1.0, 0.6, 0.3, 0.1]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([0.5, 1.5], [1], id="tripled"),
        pytest.param([1.0, 2.0], [], id="exactly double is still allowed"),
        pytest.param([0.5, 0.4, 0.3], [], id="healthy"),
        pytest.param([0.5, None, 1.5], [], id="gap in the log"),
        pytest.param([0.5, math.nan, 1.5], [], id="nan in between"),
        pytest.param([0.5, math.inf], [1], id="to infinity"),
        pytest.param([-1.0, -0.2], [], id="negative loss has no ratio"),
        pytest.param([0.0, 5.0], [], id="nor has zero"),
        pytest.param([*DESCENT, 2.5], [6], id="all that was gained is lost"),
    ],
)
def test_loss_explosion(losses, expected, profile):
    assert epochs_hit(found("loss-explosion", run_with(train=losses), profile)) == expected


def test_guide_reports_each_explosion():
    issues = found("loss-explosion", run_with(train=[0.5, 1.5, 1.0, 4.0]), "guide")
    assert epochs_hit(issues) == [1, 3] and {issue.count for issue in issues} == {1}


def test_robust_groups_explosions():
    (issue,) = found("loss-explosion", run_with(train=[0.5, 1.5, 1.0, 4.0]))
    assert (issue.epoch_index, issue.count, issue.evidence["epochs"]) == (1, 2, [1, 3])
    assert issue.description.endswith("The same in epoch 3.")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"train": [*DESCENT, 0.25]}, "7% of what had been gained", id="warm restart on a small loss"),
        pytest.param({"train": [1.0, 2.1], "std": [4.0, 4.0], "batches": [16, 16]}, "noise", id="noisy epochs"),
    ],
)
def test_explosion_is_held_back(columns, reason):
    run = run_with(**columns)
    assert reason in held_back("loss-explosion", run)[0]
    assert found("loss-explosion", run) == [] and found("loss-explosion", run, "guide")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([1.0, -0.5, -1.5, -2.0, 1.5], [4], id="lost more than it had gained"),
        pytest.param([1.0, -0.5, -1.5, -2.0, -1.6], [], id="lost a little"),
        pytest.param([-2.0, 1.0], [], id="too short to tell"),
    ],
)
def test_explosion_of_a_negative_loss(losses, expected):
    assert epochs_hit(found("loss-explosion", run_with(train=losses))) == expected


@pytest.mark.parametrize(
    ("columns", "epoch"),
    [
        pytest.param({"train": [0.7, 9, 30, math.nan], "std": [0.1] * 4, "batches": [20] * 4}, 1, id="up to nan"),
        pytest.param({"train": [0.3, 0.2, 0.15, 60, 70, 80, 55, 95, 60]}, 3, id="wild at the top"),
        pytest.param({"train": [0.15, 60, 70, 80, 40, 90, 55, 95]}, 1, id="from the start"),
    ],
)
def test_explosion_is_not_its_own_excuse(columns, epoch):
    assert found("loss-explosion", run_with(**columns))[0].epoch_index == epoch


@pytest.mark.parametrize(
    "train",
    [
        pytest.param([0.5, 0.2, 0.6, 0.25, 0.55, 0.2, 0.5, 0.22], id="jumps up and down all the time"),
        pytest.param([2.3, 1.0, 0.3, 0.05, 0.12, 0.06, 0.13, 0.05], id="doubles near its end"),
        pytest.param([2.3, 1.5, 1.0, 0.6, 0.4, 1.0, 0.5, 0.3], id="warm restart"),
    ],
)
def test_what_comes_back_is_no_explosion(train):
    columns = {"std": [2.0] * 8, "batches": [20] * 8} if train[1] < 1 else {}
    assert found("loss-explosion", run_with(train=train, **columns)) == []


@pytest.mark.parametrize(
    ("after", "severity"),
    [
        pytest.param([2.0, 1.2, 1.0], "info", id="half won back"),
        pytest.param([2.4, 2.3, 2.2], "critical", id="stays"),
        pytest.param([2.4, 2.3, 2.2, 1.2], "critical", id="too late"),
    ],
)
def test_explosion_that_is_won_back_is_information(after, severity):
    (issue,) = found("loss-explosion", run_with(train=[2.0, 1.4, 0.9, 2.5, *after]))
    assert issue.severity == severity


def test_explosion_follows_its_threshold():
    run = run_with(train=[1.0, 2.5])
    assert found("loss-explosion", run, limits=DiagnosticThresholds(loss_explosion_ratio=3.0)) == []


def test_explosion_fills_every_field():
    (issue,) = found("loss-explosion", run_with(train=[0.5, 1.5]))
    assert (issue.title, issue.metric_key, issue.metric_value) == ("Loss explosion", "loss.train_mean", 1.5)
    assert issue.evidence["threshold"] == "loss_explosion_ratio" and issue.evidence["limit"] == 2.0
    assert "0.5" in issue.description and "1.5" in issue.description and "clip" in issue.suggestion


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([0.500, 0.498, 0.497], [2], id="guide's figures"),
        pytest.param([1.0, 1.0, 0.99], [], id="exactly one percent"),
        pytest.param([1.0, 0.9, 0.8], [], id="falling"),
        pytest.param([0.5, 0.5], [], id="too short"),
        pytest.param([0.5, None, 0.5], [], id="gap in the log"),
        pytest.param([0.5, math.nan, 0.5], [], id="nan"),
        pytest.param([-1.0, -1.0, -1.0], [], id="negative"),
        pytest.param([2.31, 2.30, 2.305, 2.30, 2.304, 2.301, 2.302], [6], id="never learned"),
    ],
)
def test_loss_plateau(losses, expected, profile):
    assert epochs_hit(found("loss-plateau", run_with(train=losses), profile)) == expected


CONVERGED = [2.3, 1.2, 0.6, 0.31, 0.301, 0.3, 0.2995]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"train": CONVERGED}, "converged", id="converged"),
        pytest.param(
            {"train": [0.61, 0.605, 0.607], "hyperparameters": {"pretrained": True}},
            "trained model",
            id="short and tuned",
        ),
        pytest.param({"train": [1.0, 1.5, 2.0]}, "rises", id="rising"),
        pytest.param(
            {"train": [0.13, 0.128, 0.129, 0.1285, 0.128], "accuracy": [0.95] * 5}, "trained model", id="tuned"
        ),
    ],
)
def test_plateau_is_held_back(columns, reason):
    run = run_with(**columns)
    assert reason in held_back("loss-plateau", run)[0]
    assert found("loss-plateau", run) == [] and found("loss-plateau", run, "guide")


@pytest.mark.parametrize(("accuracy", "fires"), [(0.11, True), (0.7, False)])
def test_plateau_at_chance_is_stuck_however_far_the_loss_came(accuracy, fires):
    name, kind, count, fields = linear("fc")
    classifier = network((name, kind, count, {**fields, "out_features": 10}))
    run = run_with(train=[90.0, 2.31, 2.30, 2.31, 2.30, 2.30], accuracy=[accuracy] * 6, architecture=classifier)
    assert bool(found("loss-plateau", run)) is fires


@pytest.mark.parametrize("check_id", ["loss-explosion", "loss-plateau"])
def test_noise_around_a_decay_is_silent(check_id):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        losses = (0.2 + 2.1 * np.exp(-np.arange(30) / 6)) * (1 + 0.05 * rng.normal(size=30))
        assert found(check_id, run_with(train=losses.tolist())) == []
