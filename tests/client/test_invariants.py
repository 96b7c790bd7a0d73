"""Trainings that break a rule, each beside a healthy relative, from the loop to the verdict."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from diagnostics.engine import CHECKS, DiagnosticThresholds, Run
from tests.client.conftest import batches, records

pytestmark = pytest.mark.usefixtures("seeded")

INVARIANTS = (
    "parameters-not-updated",
    "optimizer-misses-parameters",
    "missing-zero-grad",
    "no-gradient",
    "eval-mode-while-training",
    "train-mode-while-validating",
    "softmax-before-cross-entropy",
    "labels-all-masked",
    "loss-below-minimum",
)
WINDOWS, STEPS = 5, 15


class Net(nn.Module):
    def __init__(self, *, final: nn.Module | None = None, detached: bool = False) -> None:
        super().__init__()
        self.body, self.norm, self.drop = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2)
        self.head, self.final, self.detached = nn.Linear(8, 3), final, detached

    def forward(self, x):
        hidden = self.body(x)
        hidden = self.drop(torch.relu(self.norm(hidden.detach() if self.detached else hidden)))
        return self.head(hidden) if self.final is None else self.final(self.head(hidden))


@dataclass
class Training:
    """The guide's loop; every field is a mistake, or something that looks like one."""

    model: Any = field(default_factory=Net)
    optimizers: Any = lambda model: [torch.optim.SGD(model.parameters(), lr=0.05)]
    loss: Any = functional.cross_entropy
    labels: Any = lambda y: y
    train_mode: Any = nn.Module.train
    val_mode: Any = nn.Module.eval
    steps: Any = lambda step, optimizer: optimizer.step()
    resets: Any = lambda step, optimizer: optimizer.zero_grad()
    extra: Any = lambda model, x: None
    validated: Any = torch.no_grad
    reported: Any = lambda loss: loss
    profiled: bool = True

    def run(self, observer):
        observer.register_model(self.model)
        optimizers = self.optimizers(self.model)
        for _ in range(WINDOWS):
            self.train_mode(self.model)
            for step, (x, y) in enumerate(batches(STEPS)):
                self.one_step(observer, optimizers, step, x, self.labels(y))
            self.val_mode(self.model)
            with self.validated():
                val_loss = self.loss(self.model(x), y).item()
            observer.flush({"val_loss": val_loss})

    def one_step(self, observer, optimizers, step, x, y):
        if self.profiled and observer.should_profile(step):
            _, loss = observer.profile_step(self.model, x, y, self.loss)
        else:
            loss = self.loss(self.model(x), y)
            loss.backward()
        self.extra(self.model, x)
        for optimizer in optimizers:
            self.steps(step, optimizer)
            self.resets(step, optimizer)
        observer.step(step, self.reported(loss), batch_size=len(x))


def named(observe, training, **hyperparameters):
    """Return the invariants that are said to be broken."""
    observer = observe(layer_health_every=4)
    training.run(observer)
    run = Run.from_epochs(
        records(observer, "epoch"),
        architecture=records(observer, "architecture")[-1],
        hyperparameters=hyperparameters,
    )
    return {name for name in INVARIANTS if CHECKS[name](run, DiagnosticThresholds())}


def other_model(model):
    twin = copy.deepcopy(model)
    for each in twin.parameters():
        each.grad = torch.zeros_like(each)
    return [torch.optim.SGD(twin.parameters(), lr=0.05)]


def of(*parts):
    return lambda model: [torch.optim.SGD([w for p in parts for w in getattr(model, p).parameters()], lr=0.05)]


def nothing(*unused):
    return None


def every(count, act):
    return lambda step, optimizer: act(optimizer) if step % count == count - 1 else None


@pytest.mark.parametrize(
    ("training", "names"),
    [
        pytest.param(Training(steps=nothing), {"parameters-not-updated"}, id="step forgotten"),
        pytest.param(
            Training(optimizers=other_model),
            {"parameters-not-updated", "optimizer-misses-parameters"},
            id="another model's optimizer",
        ),
        pytest.param(Training(optimizers=of("norm", "head")), {"optimizer-misses-parameters"}, id="layer left out"),
        pytest.param(Training(resets=nothing), {"missing-zero-grad"}, id="zero_grad forgotten"),
        pytest.param(
            Training(resets=nothing, optimizers=lambda model: [torch.optim.Adam(model.parameters())]),
            {"missing-zero-grad"},
            id="zero_grad forgotten, Adam",
        ),
        pytest.param(Training(model=Net(detached=True)), {"no-gradient"}, id="detached"),
        pytest.param(Training(train_mode=nn.Module.eval), {"eval-mode-while-training"}, id="never in training mode"),
        pytest.param(Training(val_mode=nothing), {"train-mode-while-validating"}, id="never in evaluation mode"),
        pytest.param(Training(model=Net(final=nn.Softmax(1))), {"softmax-before-cross-entropy"}, id="softmax"),
        pytest.param(
            Training(model=Net(final=nn.Softmax(1)), profiled=False),
            {"softmax-before-cross-entropy"},
            id="softmax, not profiled",
        ),
        pytest.param(
            Training(labels=lambda y: torch.full_like(y, -100)), {"labels-all-masked"}, id="every label masked"
        ),
        pytest.param(
            Training(labels=lambda y: torch.full_like(y, -100), profiled=False),
            {"labels-all-masked"},
            id="every label masked, not profiled",
        ),
        pytest.param(Training(loss=lambda z, y: -functional.cross_entropy(z, y)), {"loss-below-minimum"}, id="sign"),
    ],
)
def test_broken(observe, training, names):
    assert named(observe, training) == names


def frozen(model, *parts):
    for part in parts:
        getattr(model, part).requires_grad_(False)
    return model


def keeps_norm_still(model):
    model.train()
    model.norm.eval()


def head_in_evaluation(model):
    model.eval()


def looks_without_gradients(model, x):
    with torch.no_grad():
        model(x)


def each_its_own(model):
    return [torch.optim.SGD(getattr(model, name).parameters(), lr=0.05) for name in ("body", "norm", "head")]


def skips_the_first(step, optimizer):
    """As a gradient scaler does while it looks for its scale."""
    if step > 3:
        optimizer.step()


def two_rates(model):
    groups = [{"params": model.body.parameters(), "lr": 0.0}, {"params": model.head.parameters()}]
    return [torch.optim.SGD([*groups, {"params": model.norm.parameters()}], lr=0.05)]


@pytest.mark.parametrize(
    "training",
    [
        pytest.param(Training(), id="plain"),
        pytest.param(Training(profiled=False, reported=lambda loss: loss.item()), id="losses as numbers"),
        pytest.param(
            Training(
                steps=every(5, lambda optimizer: optimizer.step()),
                resets=every(5, lambda optimizer: optimizer.zero_grad()),
            ),
            id="accumulation",
        ),
        pytest.param(
            Training(resets=lambda step, optimizer: optimizer.zero_grad(set_to_none=False)), id="reset to zeros"
        ),
        pytest.param(Training(optimizers=each_its_own), id="three optimizers"),
        pytest.param(Training(optimizers=two_rates), id="a rate of zero on purpose"),
        pytest.param(Training(steps=skips_the_first), id="first steps skipped"),
        pytest.param(Training(model=frozen(Net(), "body", "norm"), optimizers=of("head")), id="head only"),
        pytest.param(
            Training(model=frozen(Net(), "body", "norm"), train_mode=head_in_evaluation), id="head only, evaluating"
        ),
        pytest.param(Training(train_mode=keeps_norm_still), id="batch normalization held still"),
        pytest.param(Training(extra=looks_without_gradients), id="passes without gradients in training"),
        pytest.param(Training(validated=contextlib.nullcontext), id="validation with gradients"),
        pytest.param(Training(model=Net(final=nn.LogSoftmax(1))), id="log-softmax"),
        pytest.param(
            Training(model=Net(final=nn.LogSoftmax(1)), loss=functional.nll_loss), id="negative log-likelihood"
        ),
        pytest.param(Training(labels=lambda y: torch.where(torch.arange(6) < 4, -100, y)), id="most labels masked"),
        pytest.param(
            Training(loss=lambda z, y: functional.cross_entropy(z, y) - 5.0 * z.std()), id="a term that is negative"
        ),
        pytest.param(
            Training(loss=lambda z, y: (functional.cross_entropy(z, y, reduction="none") * -torch.ones(6)).mean()),
            id="weighted by advantages",
        ),
    ],
)
def test_sound(observe, training):
    assert named(observe, training) == set()


def test_a_layer_left_out_while_fine_tuning_is_information(observe):
    observer = observe(layer_health_every=4)
    Training(optimizers=of("norm", "head")).run(observer)
    run = Run.from_epochs(records(observer, "epoch"), hyperparameters={"pretrained": True})
    found = CHECKS["optimizer-misses-parameters"](run, DiagnosticThresholds())
    assert [(str(each.severity), each.layer_id) for each in found] == [("info", "body")]


def test_all_weights_zero(observe):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    for each in model.parameters():
        nn.init.zeros_(each)
    assert named(observe, Training(model=model)) == {"no-gradient"}
