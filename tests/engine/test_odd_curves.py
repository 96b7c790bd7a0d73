"""Healthy trainings whose curves look alarming, and faulty ones that look like them, judged as a whole.

All curves are made up: a smooth course with the scatter of batches on top.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import Run, diagnose

EPOCHS, STEPS = 24, 12
TEN = {"loss": "cross_entropy", "num_classes": 10}
AT = np.arange(EPOCHS * STEPS) / STEPS
DOWN = 0.3 + 2.0 * np.exp(-AT / 5)


def trained(course, scatter=0.05, seed=0, val=None, accuracy=None, rate=None, each=None, **told):
    """Return a run of epochs of `STEPS` steps whose losses follow ``course``; ``scatter`` is a part of the level."""
    noise = np.random.default_rng(seed).normal(size=len(course))
    losses = np.asarray(course) + scatter * np.abs(course) * noise
    epochs = []
    for at, part in enumerate(np.split(losses, len(course) // STEPS)):
        loss = {"train_mean": part.mean(), "train_std": part.std(), "train_max": part.max(), "n_batches": STEPS}
        metrics = {"val_loss": val, "val_acc": accuracy}
        loss["val"] = {name: values[at] for name, values in metrics.items() if values is not None}
        first = list(range(at * STEPS, (at + 1) * STEPS))
        steps = {"first": first, "count": [1] * STEPS, "loss_mean": part.tolist(), "loss_max": part.tolist()}
        more = {"learning_rate": rate[at]} if rate is not None else {}
        epochs.append({"epoch": at, "loss": loss, "steps": steps, **more, **(each or {})})
    return Run.from_epochs(epochs, hyperparameters=told)


def alarms(run):
    return {issue.check_id for issue in diagnose(run).issues if issue.severity != "info"}


def by_epoch(course):
    return np.asarray(course)[STEPS - 1 :: STEPS]


def wobbling(course, part, seed=1):
    return by_epoch(course) * (1 + part * np.random.default_rng(seed).normal(size=len(course) // STEPS))


def staged(*heights, length=8):
    """Return a loss that starts anew at each height, with the first step of an epoch, and falls from there."""
    return np.concatenate([height * (0.25 + 0.75 * np.exp(-AT[: length * STEPS] / 2)) for height in heights])


GROWING = np.linspace(0, 1, AT.size)
LITTLE = 1.07 - 0.04 * (1 - np.exp(-AT / 3))
SLOW_START = 0.69 - 0.66 / (1 + np.exp(-(AT - 14) * 1.5))
FLOOR = 1e-9 + 2.0 * np.exp(-AT * 2)
CLIFFS = np.where(AT < 8, 0.9 + np.exp(-AT), np.where(AT < 16, 0.35, 0.2))
SHORT = AT[: 3 * STEPS]
OTHER_LOSS = {"loop": {"losses_seen": 2, "cross_entropy": 0, "binary_cross_entropy": 0, "squared_error": 0}}
PLAYERS = {"loop": {"optimizer_steps": 2, "other_optimizer_steps": 2}}

HEALTHY = [
    pytest.param(trained(DOWN, 0.15, val=wobbling(DOWN, 0.03)), id="plain, noisy batches"),
    pytest.param(trained(DOWN * 1e-8, 0.1, val=wobbling(DOWN * 1e-8, 0.02)), id="tiny loss"),
    pytest.param(trained(DOWN * 1e9, 0.1, val=wobbling(DOWN * 1e9, 0.02)), id="huge loss"),
    pytest.param(trained(DOWN - 1.5, 0.1, val=wobbling(DOWN, 0.02) - 1.5), id="a likelihood that crosses zero"),
    pytest.param(trained(-1 + np.exp(-AT / 5), 0.05), id="a similarity, negated"),
    pytest.param(trained(FLOOR, 0.3, val=by_epoch(FLOOR)), id="at the floor of floats"),
    pytest.param(trained(CLIFFS, 0.05, val=wobbling(CLIFFS, 0.02)), id="the rate drops twice"),
    pytest.param(trained(SLOW_START, 0.02, val=by_epoch(SLOW_START), **TEN | {"num_classes": 2}), id="late insight"),
    pytest.param(trained(LITTLE, 0.004, val=by_epoch(LITTLE) + 0.02), id="targets that are mostly noise"),
    pytest.param(trained(DOWN + 0.5, 0.1, val=wobbling(DOWN, 0.02)), id="validation below training, by dropout"),
    pytest.param(trained(DOWN, 0.1, val=wobbling(DOWN, 0.12)), id="few validation samples"),
    pytest.param(trained(DOWN, 0.1, val=wobbling(DOWN, 0.02), each=OTHER_LOSS, num_classes=2), id="a hinge"),
    pytest.param(trained(DOWN * 4, 0.1, each=OTHER_LOSS, num_classes=10), id="a teacher at high temperature"),
    pytest.param(trained(staged(2.0, 1.9, 2.1), 0.05), id="tasks one after the other"),
    pytest.param(trained(staged(1.0, 2.2, 3.0), 0.05), id="a curriculum that gets harder"),
    pytest.param(trained(staged(1.6, 2.4, length=12), 0.05, **TEN), id="new classes"),
    pytest.param(trained(staged(2.3, 0.8, 0.5), 0.05, rate=[1, 1, 1, 0.5, 0.2, 0.1, 0, 0] * 3), id="warm restarts"),
    pytest.param(trained(DOWN + 0.5 * GROWING, 0.05), id="a growing weight of a term"),
    pytest.param(trained(np.full(AT.size, 0.7), 0.1, discriminator_lr=1e-4), id="adversaries in balance"),
    pytest.param(trained(0.1 + GROWING, 0.3, each=PLAYERS), id="another model trains beside"),
    pytest.param(trained(0.05 * np.cos(AT), 0.5, algorithm="PPO"), id="a policy"),
    pytest.param(trained(0.12 - 0.01 * GROWING, 0.3, accuracy=[0.97] * EPOCHS, **TEN), id="trained before"),
    pytest.param(trained(0.043 + 0 * AT, 0.01, val=[0.085] * EPOCHS), id="trained before, a regression"),
    pytest.param(trained(2.05 - 0.01 * SHORT, 0.02, val=[2.02, 2.01, 2.0], **TEN | {"num_classes": 30}), id="3 epochs"),
    pytest.param(trained(2.2 * np.exp(-AT[:STEPS]) + 0.5, 0.1), id="one epoch of few steps"),
    pytest.param(trained(DOWN, 0.05, accuracy=[1.0] * EPOCHS, **TEN), id="an accuracy of one"),
]


@pytest.mark.parametrize("run", HEALTHY)
def test_healthy(run):
    assert alarms(run) == set()


THROWN = np.where(AT < 10.4, DOWN, 2.6 + 0 * AT)
UP_AND_DOWN = 1.2 + 0.9 * np.sign(np.sin(np.pi * AT + 0.1))
TURNING = np.where(AT < 12, DOWN, 0.48 + 0.06 * (AT - 12))
START = np.concatenate(([2.3, 2.3, 2.4, 9.0, 20.0], np.full(AT.size - 5, 2.25)))
FROM_FAR = np.concatenate(([3.3, 12.0, 20.0], 14 * np.exp(-AT[: AT.size - 3] / 3) + 2.3))
LATE_VAL = np.concatenate((by_epoch(DOWN)[:6], 0.9 + 0.05 * np.arange(18)))


@pytest.mark.parametrize(
    ("run", "name"),
    [
        pytest.param(trained(THROWN, 0.03, val=by_epoch(THROWN)), "learning-rate-too-high", id="lost all in mid-epoch"),
        pytest.param(trained(UP_AND_DOWN, 0.02), "learning-rate-too-high", id="swings"),
        pytest.param(trained(FROM_FAR, 0.02, **TEN | {"num_classes": 27}), "learning-rate-too-high", id="slow return"),
        pytest.param(trained(START, 0.02), "first-epoch-blow-up", id="thrown at the start"),
        pytest.param(
            trained(TURNING, 0.02, val=by_epoch(TURNING) + 0.1, rate=[1] * EPOCHS),
            "loss-divergence",
            id="turns for the worse",
        ),
        pytest.param(trained(1.07 + 0 * AT, 0.01, val=[1.1] * EPOCHS), "not-learning", id="rests at its start"),
        pytest.param(trained(2.3 - 0.004 * AT, 0.0005, **TEN), "learning-rate-too-low", id="creeps"),
        pytest.param(trained(DOWN, 0.05, val=LATE_VAL), "overfitting", id="overfits"),
        pytest.param(trained(np.where(AT < 9, DOWN, math.nan)), "nan-in-loss", id="NaN"),
    ],
)
def test_faulty(run, name):
    assert name in alarms(run)
