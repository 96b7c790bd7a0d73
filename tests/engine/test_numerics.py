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
