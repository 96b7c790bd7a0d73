"""A trainer that calls back as Ultralytics 8.4 does (``engine/trainer.py``); the library itself is too large here."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from observer_client import ObserverConfig
from observer_client.frameworks.ultralytics import ObserverCallbacks
from tests.client.conftest import batches, net, records

VALIDATED = ({"box": 0.6, "cls": 0.4}, {"box": 0.3, "cls": 0.2})


class Model:
    """Keeps callbacks by event, and trains with the trainer below."""

    def __init__(self, parts=dict, fails_at=None):
        self.callbacks, self.parts, self.fails_at = defaultdict(list), parts, fails_at

    def add_callback(self, event, function):
        self.callbacks[event].append(function)

    def run(self, event, trainer):
        for callback in self.callbacks[event]:
            callback(trainer)

    def train(self):
        network, loader = net(), batches(4)
        sgd = torch.optim.SGD(network.parameters(), lr=0.1)
        arguments = SimpleNamespace(task="detect", epochs=2, batch=6, lr0=0.1, save_dir="/secret/runs")
        trainer = SimpleNamespace(model=network, optimizer=sgd, train_loader=loader, args=arguments)
        trainer.start_epoch, trainer.batch_size, trainer.metrics, trainer.epoch = 0, 6, {}, 0
        self.run("on_train_start", trainer)
        for trainer.epoch in range(2):
            for x, y in loader:
                box = torch.nn.functional.cross_entropy(network(x), y)
                parts = {"box_loss": box.detach(), "cls_loss": box.detach() * 0 + 1}
                trainer.loss_items = parts if self.parts is dict else torch.stack(list(parts.values()))
                (box * 6).backward()
                sgd.step()
                sgd.zero_grad()
                self.run("on_train_batch_end", trainer)
                if trainer.epoch == self.fails_at:
                    raise ZeroDivisionError("no such batch")
            self.validate(trainer, VALIDATED[trainer.epoch])
        # The best weights once more.
        self.validate(trainer, VALIDATED[0])
        self.run("on_train_end", trainer)

    def validate(self, trainer, losses):
        trainer.metrics = {"metrics/mAP50(B)": 0.5, **{f"val/{name}_loss": loss for name, loss in losses.items()}}
        self.run("on_fit_epoch_end", trainer)


@pytest.fixture
def callbacks():
    return ObserverCallbacks(config=ObserverConfig(mode="offline", quiet=True), run_name="boats")


@pytest.mark.parametrize("parts", [dict, list], ids=["named parts", "a tensor of parts"])
def test_epochs_have_losses_and_metrics(callbacks, parts):
    callbacks.add_to(model := Model(parts))
    model.train()
    epochs = records(callbacks.observer, "epoch")
    assert [(each["epoch"], each["loss"]["n_batches"], each["loss"]["val"]["val_loss"]) for each in epochs[:2]] == [
        (0, 4, 1.0),
        (1, 4, 0.5),
    ]
    assert 1.5 < epochs[0]["loss"]["train_mean"] < 4
    assert epochs[0]["throughput"]["samples_processed"] == 24


def test_the_best_weights_join_the_last_epoch(callbacks):
    callbacks.add_to(model := Model())
    model.train()
    last = records(callbacks.observer, "epoch")[-1]
    assert (last["epoch"], last["loss"]["val"]["val_loss"], last["loss"]["val"]["final_val_loss"]) == (1, 0.5, 1.0)
    assert [each["status"] for each in records(callbacks.observer, "ending")] == ["finished"]


def test_settings_are_recorded_and_no_folder(callbacks):
    callbacks.add_to(model := Model())
    model.train()
    (told,) = [each["hyperparameters"] for each in records(callbacks.observer, "update") if "hyperparameters" in each]
    assert told == {"trainer": "ultralytics", "task": "detect", "epochs": 2, "batch": 6, "lr0": 0.1}
    assert records(callbacks.observer, "architecture")


def test_a_crash_is_recorded_around_the_training(callbacks):
    with pytest.raises(ZeroDivisionError), callbacks:
        callbacks.add_to(model := Model(fails_at=1))
        model.train()
    (ending,) = records(callbacks.observer, "ending")
    assert ending["status"] == "crashed"


def test_each_training_is_a_run(callbacks):
    callbacks.add_to(model := Model())
    keys = set()
    for _ in range(2):
        model.train()
        keys.add(callbacks.observer.key)
    assert len(keys) == 2 and len(records(callbacks.observer, "epoch")) == 3
