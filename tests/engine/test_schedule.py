"""Learning rates that do not do what was planned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import Run
from tests.engine.tools import found

STEPS = 20
PER_STEP = np.arange(10 * STEPS) / (10 * STEPS)
FALLING = np.exp(-3 * PER_STEP) + 0.2


def scheduled(rate, loss=FALLING, moved=None, **hyperparameters):
    """Return a run of ten epochs of 20 steps with these rates and losses."""
    epochs = []
    parts = zip(np.split(np.array(rate), 10), np.split(np.array(loss), 10), strict=True)
    for epoch, (rates, losses) in enumerate(parts):
        steps = {"learning_rate": rates.tolist(), "loss_mean": losses.tolist()}
        health = {} if moved is None else {"layer_health": {"layers": {"fc": {"update_ratio": moved}}}}
        epochs.append({"epoch": epoch, "loss": {"train_mean": float(losses.mean())}, "steps": steps} | health)
    return Run.from_epochs(epochs, hyperparameters=hyperparameters)


def said(run):
    return [(issue.title, str(issue.severity)) for issue in found("learning-rate-schedule", run)]


def after(share, then, before=1.0):
    return np.where(share > PER_STEP, before, then)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(scheduled(after(0.1, 0.0)), ("Learning rate of zero", "critical"), id="spent at once"),
        pytest.param(scheduled(after(0.7, 1e-12)), ("Learning rate of zero", "warning"), id="spent late"),
        pytest.param(scheduled(0 * PER_STEP), ("Learning rate of zero", "critical"), id="never begun"),
        pytest.param(
            scheduled(1e-5 + 1e-3 * PER_STEP, epochs=10, lr=0.1),
            ("Learning rate rises to the end", "warning"),
            id="warm-up that never ends",
        ),
        pytest.param(
            scheduled(1e-5 + 1e-3 * PER_STEP), ("Learning rate rises to the end", "info"), id="warm-up of who knows"
        ),
        pytest.param(
            scheduled(1e-3 * 500**PER_STEP, loss=np.abs(PER_STEP - 0.3) + 1),
            ("Learning rate rises to the end", "warning"),
            id="rising with the loss",
        ),
        pytest.param(
            scheduled(after(0.5, 30.0), loss=after(0.5, 9.0, 0.5)), ("Learning rate jumps", "warning"), id="jumps"
        ),
        pytest.param(
            scheduled(after(0.5, 30.0), loss=after(0.5, math.nan, 0.5)), ("Learning rate jumps", "warning"), id="to NaN"
        ),
    ],
)
def test_learning_rate_schedule(run, expected):
    assert said(run) == [expected]


RESTARTS = 0.5 * (1 + np.cos(np.pi * (4 * PER_STEP % 1)))


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(scheduled(PER_STEP * 0 + 1e-3), id="constant"),
        pytest.param(scheduled(0.5 * (1 + np.cos(np.pi * PER_STEP))), id="cosine to zero"),
        pytest.param(scheduled(1 - PER_STEP), id="linear to zero"),
        pytest.param(scheduled(np.minimum(PER_STEP * 10, 1)), id="warm-up, then constant"),
        pytest.param(scheduled(np.minimum(PER_STEP * 10, 1 - PER_STEP)), id="warm-up, then linear"),
        pytest.param(scheduled(0.1 ** np.floor(3 * PER_STEP)), id="stepped down"),
        pytest.param(scheduled(RESTARTS), id="warm restarts"),
        pytest.param(scheduled(after(0.02, 1.0, 0.01)), id="a jump that begins it"),
        pytest.param(scheduled(after(0.5, 30.0)), id="a jump that costs nothing"),
        pytest.param(scheduled(after(0.1, 0.0), moved=1e-3), id="zero of another group"),
        pytest.param(Run.from_epochs([{"epoch": 0, "learning_rate": 0.0}]), id="one epoch says nothing"),
    ],
)
def test_silent_about_what_is_meant(run):
    assert said(run) == []


def test_without_steps_epochs_tell():
    rows = [{"epoch": at, "learning_rate": 0.1 if at < 2 else 0.0, "loss": {"train_mean": 2.0}} for at in range(10)]
    assert said(Run.from_epochs(rows)) == [("Learning rate of zero", "critical")]


def test_a_warm_up_that_goes_on_is_no_issue_of_a_run_that_goes_on():
    run = scheduled(1e-5 + 1e-3 * PER_STEP, epochs=100)
    assert said(run) == [("Learning rate rises to the end", "info")]


@pytest.mark.parametrize(
    ("rate", "norm", "count"), [(0.0, 0.0, 1), (0.0, 3.0, 0), (1e-5, 0.0, 0)], ids=["all zero", "gradient", "rate"]
)
def test_three_steps_without_rate_and_gradient(rate, norm, count):
    steps = {"first": [1, 2, 3], "loss_mean": [12.0, 12.1, 12.0], "learning_rate": [rate] * 3}
    epoch = {"loss": {"train_mean": 12.0}, "gradients": {"norm_max": norm}, "steps": steps}
    assert len(found("learning-rate-schedule", Run.from_epochs([epoch]))) == count
