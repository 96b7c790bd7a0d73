"""NaN and infinity in a loss."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import Run, diagnose
from tests.engine.tools import BOTH, epochs_hit, found, run_with


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({"train": [1.0, math.nan, math.nan]}, [1], id="training"),
        pytest.param({"train": [1.0, -math.inf]}, [1], id="infinite"),
        pytest.param({"train": [1.0, 0.9], "val": [1.0, math.nan]}, [1], id="validation"),
        pytest.param({"train": [1.0, 0.9], "largest": [math.inf, 1.0]}, [0], id="a batch"),
        pytest.param({"train": [1.0, 0.9]}, [], id="healthy"),
        pytest.param({"train": [1.0, None]}, [], id="not logged is not nan"),
        pytest.param({"train": [1.0, 0.9], "accuracy": [math.nan, 0.5]}, [], id="an accuracy is no loss"),
    ],
)
def test_nan_in_loss(columns, expected, profile):
    assert epochs_hit(found("nan-in-loss", run_with(**columns), profile)) == expected


def test_counts_the_epochs_hit():
    (issue,) = found("nan-in-loss", run_with(train=[1.0, math.nan, 0.9, math.nan]))
    assert (issue.count, issue.evidence["epochs"], issue.metric_key) == (2, [1, 3], "loss.train_mean")


@pytest.mark.parametrize(
    ("epoch", "step"),
    [
        ({"loss": {"train_mean": "nan", "first_non_finite_step": 412}}, 412),
        ({"loss": {"train_mean": 1.0, "non_finite": 3, "first_non_finite_step": 7}}, 7),
        ({"loss": {"train_mean": 1.0}, "steps": {"first": [0, 50], "loss_mean": [1.0, "inf"]}}, 50),
        ({"loss": {"train_mean": "nan"}}, None),
    ],
    ids=["logged", "counted", "from the steps", "unknown"],
)
def test_says_the_step(epoch, step):
    (issue,) = found("nan-in-loss", Run.from_epochs([epoch]))
    assert issue.evidence["step"] == step and (f"step {step}" in issue.description) is (step is not None)


def test_report_spells_it():
    issue = diagnose(run_with(train=[1.0, math.nan])).as_dict()["issues"][0]
    assert (issue["check_id"], issue["metric_value"]) == ("nan-in-loss", "nan")


IN_LAYER = {"non_finite_gradients": 2}


def norms(*values, losses=None, steps=()):
    return Run.from_epochs(
        [
            {"gradients": {"norm_max": value}, "loss": {"train_mean": loss}, "steps": {"grad_norm_max": list(steps)}}
            for value, loss in zip(values, losses or [1.0] * len(values), strict=True)
        ]
    )


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("run", "epochs"),
    [
        pytest.param(norms(1.0, "inf", 2.0, losses=[1, "nan", "nan"]), [1], id="and the loss with it"),
        pytest.param(norms("nan", "nan", "nan"), [0], id="every step is skipped"),
        pytest.param(
            Run.from_epochs([{"layer_health": {"layers": {"a": {"non_finite_gradients": 2}}}}]), [0], id="layer"
        ),
        pytest.param(norms(1.0, 2.0), [], id="finite"),
        pytest.param(norms(1.0, None), [], id="not logged"),
        pytest.param(norms(1.0, 1.0, steps=[1.0, 1e30]), [], id="large"),
    ],
)
def test_inf_gradients(run, epochs, profile):
    assert [issue.epoch_index for issue in found("inf-gradients", run, profile)] == epochs


@pytest.mark.parametrize(("bad", "fires"), [(range(6), False), (range(50, 56), True)], ids=["start", "middle"])
def test_a_scaler_may_look_for_its_scale_at_the_start_only(bad, fires):
    steps = ["inf" if step in bad else 1.0 for step in range(100)]
    epoch = {"gradients": {"norm_max": "inf"}, "loss": {"train_mean": 2.0}, "steps": {"grad_norm_max": steps}}
    assert bool(found("inf-gradients", Run.from_epochs([epoch, {"loss": {"train_mean": 1.0}}]))) is fires


def test_first_steps_that_a_scaler_skips_are_held_back():
    epochs = [
        {"gradients": {"norm_max": "inf"}, "loss": {"train_mean": 2.0}, "steps": {"grad_norm_max": ["inf", 1, 1]}}
    ]
    epochs += [{"loss": {"train_mean": 1.0}, "steps": {"grad_norm_max": [1.0] * 20}}] * 3
    run = Run.from_epochs(epochs)
    assert found("inf-gradients", run, "guide") and found("inf-gradients", run) == []


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("hyperparameters", "losses", "severities"),
    [
        pytest.param({"loss": "cross_entropy"}, [1.0, -0.5], ["critical"], id="cross-entropy"),
        pytest.param({"criterion": "MSELoss"}, [-0.5, -1.0], ["critical"], id="squared error"),
        pytest.param({"num_classes": 10}, [-2.4, -5.6], ["warning"], id="classes, but no name"),
        pytest.param({"loss": "cross_entropy"}, [0.1, 0.0, -1e-7], [], id="rounding"),
        pytest.param({"loss": "gaussian_nll"}, [1.0, -2.0], [], id="density"),
        pytest.param({"loss": "elbo"}, [1.0, -2.0], [], id="bound of a density"),
        pytest.param({"loss": "policy_gradient", "num_classes": 4}, [1.0, -2.0], [], id="reward"),
        pytest.param({}, [1.0, -2.0], [], id="nobody says"),
        pytest.param({"loss": "mse"}, [1.0, None, "nan"], [], id="no number"),
    ],
)
def test_loss_below_minimum(hyperparameters, losses, severities, profile):
    run = Run.from_epochs([{"loss": {"train_mean": each}} for each in losses], hyperparameters=hyperparameters)
    assert [issue.severity for issue in found("loss-below-minimum", run, profile)] == severities
