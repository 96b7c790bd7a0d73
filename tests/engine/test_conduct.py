"""Modes, losses and labels."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, linear, network


def run_of(fact, *values, val_loss=1.0, architecture=None, **hyperparameters):
    """A window for each value of one fact of the loop."""
    epochs = [
        {"epoch": number, "loss": {"train_mean": 1.0, "val": {"val_loss": val_loss}}, "loop": {fact: value}}
        for number, value in enumerate(values)
    ]
    return Run.from_epochs(epochs, architecture=architecture, hyperparameters=hyperparameters)


EVALUATING, VALIDATING, TWICE, MASKED = (
    ("eval-mode-while-training", "evaluating_modules"),
    ("train-mode-while-validating", "validating_in_training_mode"),
    ("softmax-before-cross-entropy", "normalized_twice"),
    ("labels-all-masked", "labels_masked"),
)
ENDS_IN_SOFTMAX = network(linear("fc"), ("probabilities", "Softmax", 0, {"category": "activation"}))


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "run"),
    [
        pytest.param(EVALUATING[0], run_of(EVALUATING[1], 2, 2), id="evaluating"),
        pytest.param(EVALUATING[0], run_of(EVALUATING[1], 2, 2, 0), id="evaluating mostly"),
        pytest.param(VALIDATING[0], run_of(VALIDATING[1], None, True, True), id="validating"),
        pytest.param(TWICE[0], run_of(TWICE[1], False, True), id="softmax"),
        pytest.param(
            TWICE[0], run_of("losses_seen", architecture=ENDS_IN_SOFTMAX, loss="CrossEntropyLoss"), id="softmax by name"
        ),
        pytest.param(MASKED[0], run_of(MASKED[1], 1.0, 1.0), id="masked"),
        pytest.param(MASKED[0], run_of(MASKED[1], 1.0), id="masked, one window"),
    ],
)
def test_mistaken(check_id, run, profile):
    assert len(found(check_id, run, profile)) == 1


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "run"),
    [
        pytest.param(EVALUATING[0], run_of(EVALUATING[1], 0, 0), id="training"),
        pytest.param(EVALUATING[0], run_of(EVALUATING[1], 0, 2), id="evaluating once"),
        pytest.param(VALIDATING[0], run_of(VALIDATING[1], None, False, False), id="validating"),
        pytest.param(VALIDATING[0], run_of(VALIDATING[1], None, True, False), id="once"),
        pytest.param(VALIDATING[0], run_of(VALIDATING[1], True, True, val_loss=None), id="no validation logged"),
        pytest.param(TWICE[0], run_of(TWICE[1], False, False), id="logits"),
        pytest.param(
            TWICE[0],
            run_of(TWICE[1], False, architecture=ENDS_IN_SOFTMAX, loss="cross_entropy"),
            id="a softmax that the loss does not get",
        ),
        pytest.param(
            TWICE[0], run_of("losses_seen", architecture=ENDS_IN_SOFTMAX, loss="nll"), id="a loss of probabilities"
        ),
        pytest.param(TWICE[0], run_of("losses_seen", architecture=ENDS_IN_SOFTMAX), id="a loss without a name"),
        pytest.param(MASKED[0], run_of(MASKED[1], 0.95, 0.99), id="most are masked"),
        pytest.param(MASKED[0], run_of(MASKED[1], 0.5, 1.0), id="one batch masked"),
    ],
)
def test_right(check_id, run, profile):
    assert found(check_id, run, profile) == []


def nan_with(norm, masked=None):
    epoch = {"loss": {"train_mean": math.nan}, "gradients": {"norm_max": norm}, "loop": {"labels_masked": masked}}
    return Run.from_epochs([{"epoch": number, **epoch} for number in range(3)])


def test_a_mean_over_no_label():
    assert len(found("labels-all-masked", nan_with(0.0))) == 1


@pytest.mark.parametrize("run", [nan_with(math.nan), nan_with(0.1), nan_with(0.0, masked=0.5), nan_with(None)])
def test_a_nan_of_another_kind(run):
    assert found("labels-all-masked", run) == []


@pytest.mark.parametrize(
    ("loop", "names"),
    [
        pytest.param({"losses_seen": 4, "cross_entropy": 4}, ["loss-below-minimum"], id="cross-entropy"),
        pytest.param({"losses_seen": 4, "squared_error": 4}, ["loss-below-minimum"], id="squared error"),
        pytest.param({"losses_seen": 4, "cross_entropy": 3}, [], id="not always"),
        pytest.param({"losses_seen": 4}, [], id="another loss"),
    ],
)
def test_the_graph_tells_that_a_loss_cannot_be_negative(loop, names):
    run = Run.from_epochs([{"epoch": 0, "loss": {"train_mean": -1.0}, "loop": loop}])
    assert [each.check_id for each in found("loss-below-minimum", run)] == names


def lost(val_loss=0.5, non_finite=10, epochs=3, **more):
    loss = {"train_mean": math.nan, "n_batches": 10, "non_finite": non_finite, "val": {"val_loss": val_loss}}
    sound = {"epoch": 0, "loss": {"train_mean": 0.6, "n_batches": 10, "val": {"val_loss": 0.6}}}
    return Run.from_epochs([sound, *({"epoch": number + 1, "loss": loss, **more} for number in range(epochs))])


def test_weights_that_outlive_a_nan_loss_were_not_stepped():
    (issue,) = found("labels-all-masked", lost())
    assert "validation loss stays finite" in issue.description


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lost(val_loss=math.nan), id="weights are NaN, too"),
        pytest.param(lost(non_finite=3), id="some batches are finite"),
        pytest.param(lost(epochs=1), id="one epoch"),
        pytest.param(lost(loss_scale={"skipped": 10}), id="a scaler skips"),
        pytest.param(lost(gradients={"norm_max": math.nan}), id="NaN gradients"),
    ],
)
def test_a_loss_lost_in_another_way(run):
    assert found("labels-all-masked", run) == []
