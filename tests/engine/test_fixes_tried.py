"""Fixes at work: a faulty training is diagnosed, its fix is put in, and the fault is gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.engine.trainings import Case, Training

pytestmark = [pytest.mark.xdist_group("fixes"), pytest.mark.filterwarnings("ignore:Full backward hook")]


def mlp(activation=nn.ReLU, depth=1, width=32):
    def make():
        layers = [nn.Flatten(), nn.Linear(64, width), activation()]
        for _ in range(depth):
            layers += [nn.Linear(width, width), activation()]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    return make


def zero(model):
    for weight in model.parameters():
        nn.init.zeros_(weight)


def sink(model):
    nn.init.constant_(model[1].bias, -10.0)


def swell(model):
    with torch.no_grad():
        model[1].weight *= 200


def freeze(model):
    model[3].requires_grad_(False)


def lose_one(step, x):
    x = x.clone()
    x[0] = float("nan") if step == 60 else x[0]
    return x


class Wide(nn.Module):
    """Flattens a large map; ``pool`` is where pooling may go."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 16, 3, padding=1), nn.Identity()
        self.fc1, self.head = nn.Linear(16 * 64, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = self.pool(self.conv(x).relu()).flatten(1)
        return self.head(self.fc1(x).relu())


def unpooled():
    layers = [part for place in range(4) for part in (nn.Conv2d(8 if place else 1, 8, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 10))


FAULTS = {
    "first-epoch-blow-up": Case(model=mlp(depth=2), rate=10.0),
    "learning-rate-too-low": Case(model=mlp(), rate=1e-5, epochs=10, batch_size=32, optimizer=torch.optim.AdamW),
    "loss-explosion": Case(model=mlp(), gradient=lambda step: 1e4 if step == 60 else 1.0, epochs=9),
    "nan-in-loss": Case(model=mlp(), batch=lose_one),
    "dead-relu": Case(model=mlp(), twist=sink),
    "dead-relu by large steps": Case(model=mlp(), rate=5.0),
    "dead-neurons": Case(model=mlp(), twist=zero),
    "saturated-activation": Case(model=mlp(nn.Tanh), twist=swell, rate=0.05),
    "vanishing-gradients": Case(model=mlp(nn.Sigmoid, depth=10)),
    "unintended-freeze": Case(model=mlp(), twist=freeze),
    "initial-loss": Case(model=mlp(), criterion=nn.CrossEntropyLoss(reduction="sum"), rate=1e-4),
    "loss-below-minimum": Case(model=mlp(), sign=-1, rate=0.02),
    "overfitting": Case(
        model=mlp(width=128), samples=80, batch_size=16, epochs=60, rate=2e-3, optimizer=torch.optim.AdamW
    ),
    "fc-dominates": Case(model=Wide, epochs=3),
    "missing-pooling": Case(model=unpooled, epochs=3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fix_mends_the_fault(fault, tmp_path):
    case, check_id = FAULTS[fault], fault.partition(" ")[0]
    before = Training(case).run(tmp_path / "before")
    at_fault = {check_id} | {issue.caused_by for issue in before.issues if issue.check_id == check_id}
    fixes = list(dict.fromkeys(issue.fix for issue in before.issues if issue.check_id in at_fault and issue.fix))
    assert fixes and check_id in {issue.check_id for issue in before.issues}
    after = Training(case, fixes).run(tmp_path / "after")
    assert check_id not in {issue.check_id for issue in after.issues}
    assert after.health_score >= before.health_score
