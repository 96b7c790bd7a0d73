"""Faults of data and updates in real trainings, from the Observer to the issue; beside each a healthy relative."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from diagnostics.engine import Run, diagnose
from tests.client.conftest import records

EPOCHS = 4


def points(count, *, seed, share=0.5):
    """Two overlapping clouds of points; ``share`` of the samples are of class 0."""
    made = torch.Generator().manual_seed(seed)
    y = (torch.rand(count, generator=made) >= share).long()
    return torch.randn(count, 8, generator=made) + 0.8 * y[:, None], y


class Delayed:
    def __init__(self, loader, seconds):
        self.loader, self.seconds = loader, seconds

    def __iter__(self):
        for batch in self.loader:
            time.sleep(self.seconds)
            yield batch


def diagnosed(observe, train, val, *, delay=0.0, limit=None, factor=None, told=True, rate=1e-2):
    """Train a classifier on ``train``, (x, y), and return the ids of what is reported and its severities."""
    torch.manual_seed(0)
    observer, model = observe(layer_health_every=1000), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    sgd = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=factor is not None)
    sets = TensorDataset(*train), TensorDataset(*val)
    # Made beforehand: how long it takes to collate a batch is the machine's business.
    made = list(DataLoader(sets[0], batch_size=25, shuffle=True))
    loader = Delayed(made, delay) if delay else made
    observer.register_model(model, sgd)
    observer.log_hyperparameters(loss="cross_entropy", num_classes=2)
    observer.observe_scaler(scaler)
    observer.watch_data(*sets)
    for _ in range(EPOCHS):
        model.train()
        for number, (x, y) in enumerate(observer.data(loader) if told else loader):
            loss = functional.cross_entropy(model(x), y)
            scaler.scale(loss * (factor or 1.0)).backward()
            scaler.unscale_(sgd)
            if limit is not None:
                observer.clip_grad_norm_(model.parameters(), limit)
            scaler.step(sgd)
            scaler.update()
            sgd.zero_grad()
            observer.step(number, loss, batch_size=len(x))
        with torch.no_grad():
            observer.observe_predictions(model.eval()(val[0]), val[1])
        observer._signals.samples.reading.join(20)
        observer.flush()
    session = {"loss": "cross_entropy", "num_classes": 2}
    report = diagnose(Run.from_epochs(records(observer, "epoch"), hyperparameters=session))
    return {issue.check_id: str(issue.severity) for issue in report.issues}


TRAIN, VAL = points(500, seed=0), points(200, seed=1)
RARE = points(500, seed=0, share=0.01)
BROKEN = {
    "input-bound": ("warning", {"delay": 0.01}),
    "class-imbalance": ("warning", {"train": RARE}),
    "data-leakage": ("warning", {"val": tuple(each[:150] for each in TRAIN)}),
    "input-scale": ("warning", {"train": (TRAIN[0] * 800, TRAIN[1]), "rate": 1e-6}),
    "clipping-fraction": ("info", {"limit": 1e-3}),
    "amp-overflow": ("critical", {"factor": float("inf")}),
}


@pytest.mark.parametrize("check", BROKEN)
def test_found(observe, check):
    severity, fault = BROKEN[check]
    found = diagnosed(observe, **{"train": TRAIN, "val": VAL, **fault})
    assert found.get(check) == severity
    assert not (set(found) & set(BROKEN)) - {check}


def test_found_without_the_loader_being_told(observe):
    assert diagnosed(observe, TRAIN, VAL, delay=0.01, told=False).get("input-bound") == "warning"


@pytest.mark.parametrize(
    "relative",
    [
        pytest.param({}, id="plain"),
        pytest.param({"limit": 100.0}, id="clipped where it must be"),
        pytest.param({"factor": 1.0}, id="scaled"),
        pytest.param({"train": points(500, seed=0, share=0.3)}, id="a smaller class that is learned"),
        pytest.param({"train": (torch.cat([TRAIN[0]] * 2), torch.cat([TRAIN[1]] * 2))}, id="repeated training data"),
    ],
)
def test_silent(observe, relative):
    found = diagnosed(observe, **{"train": TRAIN, "val": VAL, **relative})
    assert not set(found) & set(BROKEN)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, input_ids, attention_mask):
        return self.head(self.embed(input_ids))


@pytest.mark.parametrize(("length", "reported"), [(3, True), (9, False)], ids=["short texts", "long texts"])
def test_padding(observe, length, reported):
    observer, model = observe(), Reader()
    observer.register_model(model)
    ids = torch.randint(1, 20, (16, 10)) * (torch.arange(10) < length)
    for number in range(8):
        loss = model(input_ids=ids, attention_mask=ids != 0).square().mean()
        loss.backward()
        observer.step(number, loss)
    observer.flush()
    report = diagnose(Run.from_epochs(records(observer, "epoch")))
    assert ("padding-waste" in {issue.check_id for issue in report.issues}) is reported
