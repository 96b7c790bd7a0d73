"""Runs of few epochs, judged by their logged steps."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.engine import Run
from tests.engine.tools import found


def logged(*losses, epochs=1, **hyperparameters):
    parts = np.array_split(np.array(losses, float), epochs)
    rows = [{"loss": {"train_mean": part.mean()}, "steps": {"loss_mean": part.tolist()}} for part in parts]
    return Run.from_epochs(rows, hyperparameters=hyperparameters)


def noisy(course, part=0.1, seed=0):
    return course * (1 + part * np.random.default_rng(seed).normal(size=len(course)))


FALL = 0.4 + 1.6 * np.exp(-np.arange(40) / 8)
RISES = np.concatenate((FALL[:15], np.linspace(0.7, 2.0, 25)))
BACK = np.concatenate((FALL[:15], [2.0] * 12, np.linspace(1.0, 0.5, 13)))


@pytest.mark.parametrize(
    ("run", "severity"),
    [
        pytest.param(logged(14.0, 11.0, 4.0, 2.5, 1.5, 6.0, 7.5, 9.0), "warning", id="eight values"),
        pytest.param(logged(*noisy(RISES)), "warning", id="rises to the end"),
        pytest.param(logged(*noisy(RISES), epochs=3), "warning", id="three epochs"),
        pytest.param(logged(*BACK), "info", id="came back"),
    ],
)
def test_divergence_by_steps(run, severity):
    assert [str(issue.severity) for issue in found("loss-divergence", run)] == [severity]
    assert found("loss-divergence", run, "guide") == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("course", "part", "told"),
    [
        pytest.param(FALL, 0.2, {}, id="falls"),
        pytest.param(np.full(40, 0.1), 0.5, {}, id="rests near zero, noisy"),
        pytest.param(FALL[:8], 0.2, {}, id="eight values"),
        pytest.param(FALL + np.linspace(0, 0.3, 40), 0.1, {}, id="rises a little"),
        pytest.param(RISES, 0.1, {"algorithm": "ppo"}, id="a policy"),
    ],
)
def test_no_divergence_by_steps(course, part, told, seed):
    run = logged(*noisy(course, part, seed), **told)
    assert found("loss-divergence", run) == [] and found("loss-explosion", run) == []


@pytest.mark.parametrize(
    ("losses", "count"),
    [([0.06, 0.16, 0.05, 5e18, 4e19, 2e20, 8e20], 1), ([14.0, 11.0, 4.0, 2.5, 1.5, 6.0, 7.5, 9.0], 0)],
    ids=["twenty digits", "below its start"],
)
def test_explosion_by_steps(losses, count):
    assert len(found("loss-explosion", logged(*losses))) == count
