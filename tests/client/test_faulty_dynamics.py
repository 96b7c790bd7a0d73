"""Faults of the dynamics in real trainings, from the Observer to the issue; beside each a healthy relative."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.engine.trainings import Case, Training

pytestmark = pytest.mark.xdist_group("dynamics")


def mlp(depth=1, activation=nn.ReLU):
    def make():
        hidden = [part for _ in range(depth) for part in (nn.Linear(32, 32), activation())]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), activation(), *hidden, nn.Linear(32, 10))

    return make


def scheduled(rate_at):
    """SGD whose rate is ``rate_at(step)`` times the first one."""

    def make(parameters, lr, weight_decay):
        sgd, steps = torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay), iter(range(1, 100_000))
        sgd.register_step_post_hook(lambda sgd, *call: sgd.param_groups[0].update(lr=lr * rate_at(next(steps))))
        return sgd

    return make


def momentum(parameters, lr, weight_decay):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.95)


def swollen(factor):
    """One layer's outputs are so much larger, and the next one takes them back."""

    def twist(model):
        with torch.no_grad():
            model[5].weight *= factor
            model[7].weight /= factor

    return twist


def at(step, factor):
    return lambda now: factor if now == step else 1.0


PLAIN = Case(model=mlp())
PAIRS = {
    "not-learning": (Case(model=mlp(), batch=lambda step, x: torch.randn_like(x)), PLAIN),
    "loss-spike": (
        Case(model=mlp(), batch=lambda step, x: x * at(80, 60)(step), rate=0.02),
        Case(model=mlp(), batch=lambda step, x: x * at(80, 1.2)(step), rate=0.02),
    ),
    "gradient-spike": (
        Case(model=mlp(), gradient=at(80, 60.0), rate=0.01),
        Case(model=mlp(), gradient=at(80, 1.2), rate=0.01),
    ),
    "exploding-gradients": (
        Case(model=mlp(depth=6), gradient=lambda step: 1.3 ** min(step, 110), rate=1e-5),
        Case(model=mlp(), gradient=lambda step: 1e3, rate=1e-4),
    ),
    "update-ratio": (Case(model=mlp(), rate=1e-7), PLAIN),
    "oscillation": (
        Case(model=mlp(activation=nn.Tanh), optimizer=momentum, rate=0.5, epochs=16),
        Case(model=mlp(activation=nn.Tanh), optimizer=momentum, rate=0.02, epochs=16),
    ),
    "learning-rate-schedule": (
        Case(model=mlp(), optimizer=scheduled(lambda step: float(step < 42))),
        Case(model=mlp(), optimizer=scheduled(lambda step: max(0.0, 1 - step / 112))),
    ),
    "activation-outliers": (
        Case(model=mlp(depth=4), twist=swollen(1e5), rate=1e-6),
        Case(model=mlp(depth=4), twist=swollen(10.0)),
    ),
}


def reported(case, folder):
    return {issue.check_id for issue in Training(case).run(folder).issues}


@pytest.mark.parametrize("check", PAIRS)
def test_found(check, tmp_path):
    assert check in reported(PAIRS[check][0], tmp_path)


@pytest.mark.parametrize("check", PAIRS)
def test_silent(check, tmp_path):
    assert check not in reported(PAIRS[check][1], tmp_path)
