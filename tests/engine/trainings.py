"""Small trainings under the real observer, into which snippets of fixes are put where their first line says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from diagnostics.engine import diagnose
from diagnostics.engine.run import Run
from mldiag.cli.readers import read
from observer_client import Observer, ObserverConfig

HOST_NOISE = frozenset(["throughput-degradation", "slow-epoch", "high-cpu", "slow-step", "fail-slow", "input-bound"])
# Checks that see what else the machine does.

PLACES = (
    "Before the optimizer is made",
    "Where the criterion is made",
    "Before training",
    "Before each epoch of training",
    "Before each validation",
    "Before model(x)",
    "Where the loss is computed",
    "Before loss.backward()",
    "After loss.backward()",
    "In place of optimizer.step()",
)


@dataclass(kw_only=True)
class Case:
    """A training and its fault. ``batch`` may spoil the inputs of a step, ``gradient`` scale its gradients, ``twist``
    change the model."""

    model: callable
    rate: float = 0.1
    epochs: int = 8
    samples: int = 896
    batch_size: int = 64
    decay: float = 0.0
    optimizer: callable = torch.optim.SGD
    criterion: callable = field(default_factory=nn.CrossEntropyLoss)
    sign: int = 1
    twist: callable = lambda model: None
    batch: callable = lambda step, x: x
    gradient: callable = lambda step: 1.0
    forgets: bool = False
    evaluates: bool = False
    optimizes: callable = lambda model: model.parameters()
    hyperparameters: dict = field(default_factory=dict)


def digits(samples):
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    return TensorDataset(x[:samples], y[:samples]), (x[1200:], y[1200:])


class Training:
    """One run of a case; ``fixes`` are snippets."""

    def __init__(self, case, fixes=()):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.case, self.step = case, 0
        self.fixes = {place: [each for each in fixes if each.startswith(f"# {place}")] for place in PLACES}
        lost = [each for each in fixes if not any(each.startswith(f"# {place}") for place in PLACES)]
        assert not lost, f"a snippet that belongs nowhere: {lost[0]}"
        train, self.val = digits(case.samples)
        self.scope = {"torch": torch, "epochs": case.epochs, "criterion": case.criterion}
        self.scope["train_loader"] = DataLoader(train, batch_size=case.batch_size, shuffle=True)
        self.scope["model"] = case.model()
        case.twist(self.scope["model"])

    def at(self, place):
        for snippet in self.fixes[place]:
            exec(snippet, self.scope)
        return bool(self.fixes[place])

    def run(self, folder):
        """Train, and return the report on what the observer exported."""
        case, scope = self.case, self.scope
        self.at("Before the optimizer is made")
        model = scope["model"]
        scope["optimizer"] = case.optimizer(case.optimizes(model), lr=case.rate, weight_decay=case.decay)
        self.at("Where the criterion is made")
        self.at("Before training")
        config = ObserverConfig(mode="offline", directory=str(folder), quiet=True, layer_health_every=3)
        with Observer(run_name="run", config=config) as observer:
            observer.register_model(model, scope["optimizer"], example_input=self.val[0][:2])
            told = {"learning_rate": case.rate, "batch_size": case.batch_size, "epochs": scope["epochs"]}
            observer.log_hyperparameters({**told, "loss": "cross_entropy", "num_classes": 10, **case.hyperparameters})
            for _ in range(scope["epochs"]):
                self.epoch(observer)
        return diagnose(run_of(observer.export(folder / "run.json")), disabled=HOST_NOISE)

    def epoch(self, observer):
        scope = self.scope
        scope["model"].train(not self.case.evaluates)
        self.at("Before each epoch of training")
        for x, y in scope["train_loader"]:
            scope["x"], scope["y"] = self.case.batch(self.step, x), y
            self.at("Before model(x)")
            self.optimize(observer)
        scope["model"].eval()
        self.at("Before each validation")
        with torch.no_grad():
            output = scope["model"](self.val[0])
        right = float((output.argmax(1) == self.val[1]).float().mean())
        observer.flush({"val_loss": float(nn.functional.cross_entropy(output, self.val[1])), "val_acc": right})

    def optimize(self, observer):
        scope, case = self.scope, self.case
        scope["output"] = scope["model"](scope["x"])
        scope["loss"] = case.sign * scope["criterion"](scope["output"], scope["y"])
        self.at("Where the loss is computed")
        if not case.forgets:
            scope["optimizer"].zero_grad()
        self.at("Before loss.backward()")
        scope["loss"].backward()
        for weight in scope["model"].parameters():
            if weight.grad is not None:
                weight.grad *= case.gradient(self.step)
        norm = float(nn.utils.clip_grad_norm_(scope["model"].parameters(), float("inf")))
        self.at("After loss.backward()")
        if not self.at("In place of optimizer.step()"):
            scope["optimizer"].step()
        observer.step(self.step, scope["loss"], batch_size=len(scope["x"]), grad_norm=norm)
        self.step += 1


def run_of(path):
    """Return the run in an exported file."""
    found = read(path.read_bytes())
    return Run.from_epochs(
        found.epochs,
        logs=found.logs,
        architecture=found.architecture,
        hyperparameters=found.hyperparameters,
        environment=found.environment,
    )


def code_of(snippet):
    """Return a snippet without its comments."""
    return re.sub(r"\s*#.*", "", snippet)
