"""The first epoch, step by step."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, epochs_hit, found

CLASSES = {"loss": "cross_entropy", "num_classes": 10}
FALL = [2.3 - 0.05 * step for step in range(20)]
BLOWN = [2.3, 2.2, 2.4, 80.0, 12.0, 5.0, 3.0, 2.5, 2.4, 2.4]


def stepped(steps, later=(), hyperparameters=CLASSES):
    finite = [loss for loss in steps if math.isfinite(loss)]
    mean = math.nan if len(finite) < len(steps) else sum(finite) / len(finite)
    first = {"loss": {"train_mean": mean}, "steps": {"loss_mean": steps, "loss_max": steps}}
    epochs = [first, *({"loss": {"train_mean": loss}} for loss in later)]
    return Run.from_epochs(epochs, hyperparameters=hyperparameters)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("check_id", ["first-epoch-blow-up", "learning-rate-too-high"])
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(stepped(BLOWN, [2.32, 2.31, 2.31]), id="stuck at guessing"),
        pytest.param(stepped(BLOWN), id="one epoch"),
        pytest.param(stepped([2.3, 2.2, 7.1, 60, 1e7, 1e9, *[math.nan] * 4], [math.nan]), id="up to nan"),
        pytest.param(stepped([1, 1.1, 0.9, 9, 50, 20, 8, 4, 3, 2], [1.5, 1.4], {}), id="regression"),
    ],
)
def test_blow_up(run, check_id, profile):
    if check_id == "first-epoch-blow-up" or profile == "robust":
        assert found(check_id, run, profile)


@pytest.mark.parametrize("check_id", ["first-epoch-blow-up", "learning-rate-too-high", "initial-loss"])
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(stepped(FALL, [1.0, 0.8]), id="falls"),
        pytest.param(stepped(BLOWN, [1.5, 1.0, 0.5]), id="recovers"),
        pytest.param(stepped([0.03, 0.06, 0.04, 0.12, 0.05, 0.1, 0.04, 0.05], [0.06, 0.05]), id="trained model"),
        pytest.param(stepped([2.3, 9.0, 2.3], [2.3]), id="too few steps"),
        pytest.param(stepped([-1.0, 5.0, *[-1.0] * 8], [-1.0], {}), id="negative loss"),
        pytest.param(stepped([1.0, 1.4, 0.7, 1.2, 1.6, 0.8, 1.1, 1.0], [1.0], {}), id="noisy regression"),
        pytest.param(stepped([math.nan] * 10), id="never a number"),
    ],
)
def test_start_without_blow_up(run, check_id):
    assert found(check_id, run) == []


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("steps", "hyperparameters", "epochs"),
    [
        pytest.param([147.0 - step for step in range(10)], CLASSES, [0], id="summed over the batch"),
        pytest.param([1100.0 - 30 * step for step in range(10)], CLASSES, [0], id="large weights"),
        pytest.param([8.0, 6.0, 4.0, 3.0, 2.0, 1.8, 1.6, 1.5, 1.4], CLASSES, [], id="put right within the epoch"),
        pytest.param(FALL, CLASSES, [], id="guessing"),
        pytest.param([0.1] * 10, CLASSES, [], id="trained model"),
        pytest.param([147.0] * 10, {}, [], id="nobody knows the classes"),
        pytest.param([147.0] * 10, {"loss": "mse", "num_classes": 10}, [], id="another loss"),
        pytest.param([6.5] * 10, {"loss": "cross_entropy", "num_classes": 50_000}, [], id="many classes"),
    ],
)
def test_initial_loss(steps, hyperparameters, epochs, profile):
    assert epochs_hit(found("initial-loss", stepped(steps, [], hyperparameters), profile)) == epochs


def test_classes_are_those_of_the_last_layer_if_there_is_an_accuracy():
    from tests.engine.tools import linear, network

    name, kind, count, fields = linear("head")
    epochs = [{"loss": {"val": {"val_acc": 0.1}}, "steps": {"loss_mean": [147.0] * 10}}]
    classifier = network((name, kind, count, {**fields, "out_features": 10}))
    assert found("initial-loss", Run.from_epochs(epochs, architecture=classifier))
    assert found("initial-loss", Run.from_epochs(epochs)) == []
