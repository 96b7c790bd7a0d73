"""Hugging Face's Trainer and Accelerate, observed."""

from __future__ import annotations

import math
import sys
import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from accelerate import Accelerator, PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, register_tracker_class
    from transformers import Trainer, TrainingArguments

    from observer_client.frameworks.accelerate import ObserverTracker
    from observer_client.frameworks.transformers import ObserverCallback

from observer_client import ObserverConfig
from tests.client.conftest import batches, example, net, recorded, records

pytestmark = pytest.mark.xdist_group("frameworks")


def offline(**settings):
    return ObserverConfig(mode="offline", quiet=True, **settings)


class Classifier(torch.nn.Module):
    """What the Trainer takes: a model that returns its loss."""

    def __init__(self, strange_at=None):
        super().__init__()
        self.net = net()
        self.calls = 0
        self.strange_at = strange_at
        self.losses = []

    def forward(self, x, labels):
        logits = self.net(x)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        if self.training:
            self.calls += 1
            if self.calls == self.strange_at:
                loss = loss * math.nan
            self.losses.append(loss.item())
        return {"loss": loss, "logits": logits}


class Breaking(Classifier):
    def forward(self, x, labels):
        if self.calls == 5:
            raise ZeroDivisionError("no such batch")
        return super().forward(x, labels)


def samples(count=4):
    return [{"x": x, "labels": y} for batch in batches(count) for x, y in zip(*batch, strict=True)]


def trainer(model, callback, folder, *, evaluated=None, **settings):
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 6, "learning_rate": 0.1, **settings}
    settings = {"save_strategy": "no", "logging_steps": 2, "disable_tqdm": True, "use_cpu": True, **settings}
    return Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(folder), **settings),
        train_dataset=samples(),
        eval_dataset=evaluated if evaluated is not None else samples(1),
        callbacks=[callback],
    )


def train(model, callback, folder, *, resume=None, **settings):
    running = trainer(model, callback, folder, **settings)
    running.train(resume_from_checkpoint=resume)
    return running


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two epochs, each evaluated and kept: the model, the Observer, the trainer, its folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("trained")
    model, callback = Classifier(), ObserverCallback(config=offline(directory=str(folder / "runs")))
    settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_grad_norm": 0.01}
    return model, callback.observer, train(model, callback, folder, **settings), folder, callback


def epochs(observer):
    return records(observer, "epoch")


def hyperparameters(observer):
    (told,) = [each["hyperparameters"] for each in records(observer, "update") if "hyperparameters" in each]
    return told


def ending(observer):
    (found,) = records(observer, "ending")
    return found["status"], found.get("reason")


def test_epochs_have_every_loss(trained):
    model, callback = trained[0], trained[4]
    means = [sum(model.losses[:4]) / 4, sum(model.losses[4:]) / 4]
    found = epochs(callback.observer)
    assert [each["epoch"] for each in found] == [0, 1]
    assert [each["loss"]["train_mean"] for each in found] == pytest.approx(means)


def test_each_evaluation_is_recorded_once_with_its_epoch(trained):
    logged = [each["eval_loss"] for each in trained[2].state.log_history if "eval_loss" in each]
    found = [each["loss"]["val"] for each in epochs(trained[4].observer)]
    assert found == [{"val_loss": pytest.approx(each)} for each in logged]


def test_norms_are_those_before_clipping(trained):
    logged = [each["grad_norm"] for each in trained[2].state.log_history if "grad_norm" in each]
    (first, _) = epochs(trained[4].observer)
    assert first["gradients"]["norm_max"] >= max(logged[:2]) > 0.01
    assert first["gradients"]["clipped_share"] == 1.0


def test_what_was_set_is_recorded_and_no_token(trained):
    told = hyperparameters(trained[4].observer)
    assert (told["learning_rate"], told["per_device_train_batch_size"], told["model"]) == (0.1, 6, "Classifier")
    assert [name for name in told if "token" in name or "dir" in name] == []


def test_layers_and_ending_are_recorded(trained):
    observer = trained[4].observer
    assert "net.0" in records(observer, "architecture")[-1]["layers"]
    assert epochs(observer)[0]["layer_health"]["layers"]["net.0"]
    assert ending(observer) == ("finished", None)


def test_a_loss_that_the_trainer_filters_out_is_seen(tmp_path):
    callback = ObserverCallback(config=offline())
    running = train(Classifier(strange_at=3), callback, tmp_path, num_train_epochs=1)
    assert all(math.isfinite(each["loss"]) for each in running.state.log_history if "loss" in each)
    assert epochs(callback.observer)[0]["loss"]["non_finite"] >= 1


@pytest.mark.parametrize("accumulated", [2, 3])
def test_micro_batches_are_one_step(tmp_path, accumulated):
    callback, model = ObserverCallback(config=offline()), Classifier()
    settings = {"num_train_epochs": 1, "gradient_accumulation_steps": accumulated, "logging_steps": 1}
    running = train(model, callback, tmp_path, **settings)
    (epoch,) = epochs(callback.observer)
    logged = [each["loss"] for each in running.state.log_history if "loss" in each]
    assert epoch["loss"]["n_batches"] == len(logged) == 2
    assert epoch["loss"]["train_mean"] == pytest.approx(sum(logged) / 2, rel=1e-3)


def test_few_epochs_are_told_by_their_evaluations(tmp_path):
    callback = ObserverCallback(config=offline())
    settings = {"num_train_epochs": 1, "eval_strategy": "steps", "eval_steps": 1}
    train(Classifier(), callback, tmp_path, **settings)
    found = epochs(callback.observer)
    assert [(each["epoch"], each["loss"]["n_batches"]) for each in found] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert all("val_loss" in each["loss"]["val"] for each in found)


def test_evaluations_of_several_data_sets_belong_together(tmp_path):
    callback = ObserverCallback(config=offline())
    data = {"easy": samples(1), "hard": samples(2)}
    train(Classifier(), callback, tmp_path, evaluated=data, eval_strategy="epoch", eval_on_start=True)
    assert [sorted(each["loss"]["val"]) for each in epochs(callback.observer)] == [
        ["val_easy_loss", "val_hard_loss"]
    ] * 2


def test_evaluations_after_the_training_join_its_last_epoch(tmp_path):
    callback = ObserverCallback(config=offline())
    running = train(Classifier(), callback, tmp_path, num_train_epochs=1)
    assert "val" not in epochs(callback.observer)[0]["loss"]
    evaluated = running.evaluate()
    tested = running.predict(samples(2)).metrics
    last = epochs(callback.observer)[-1]
    assert last["loss"]["val"] == {"val_loss": evaluated["eval_loss"], "test_loss": tested["test_loss"]}
    assert (last["epoch"], last["loss"]["n_batches"], ending(callback.observer)[0]) == (0, 4, "finished")


def test_a_resumed_training_goes_on_counting(trained, tmp_path):
    callback = ObserverCallback(config=offline())
    train(Classifier(), callback, trained[3], resume=str(trained[3] / "checkpoint-4"))
    assert [each["epoch"] for each in epochs(callback.observer)] == [1]
    assert hyperparameters(callback.observer)["resumed_from_step"] == 4
    assert epochs(callback.observer)[0]["steps"]["first"][0] == 4


def test_a_crash_is_recorded_around_the_training(tmp_path):
    callback, backward = ObserverCallback(config=offline()), torch.autograd.backward
    with pytest.raises(ZeroDivisionError), callback:
        train(Breaking(), callback, tmp_path)
    assert ending(callback.observer) == ("crashed", "ZeroDivisionError: no such batch")
    assert torch.autograd.backward is backward


def test_a_crash_that_nobody_catches_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", lambda *error: None)
    callback = ObserverCallback(config=offline())
    try:
        train(Breaking(), callback, tmp_path)
    except ZeroDivisionError as error:
        # As the interpreter does.
        sys.excepthook(type(error), error, error.__traceback__)
    assert ending(callback.observer) == ("crashed", "ZeroDivisionError: no such batch")
    callback.__exit__(None, None, None)


def test_a_fit_after_a_crash_is_a_run_of_its_own(tmp_path):
    callback = ObserverCallback(config=offline())
    with pytest.raises(ZeroDivisionError):
        train(Breaking(), callback, tmp_path)
    crashed = callback.observer
    train(Classifier(), callback, tmp_path, num_train_epochs=1)
    assert ending(crashed)[0] == "crashed"
    assert ending(callback.observer) == ("finished", None)
    assert len(epochs(callback.observer)) == 1


def test_a_given_observer_is_left_open(observe, tmp_path):
    observer = observe()
    train(Classifier(), ObserverCallback(observer), tmp_path, num_train_epochs=1)
    assert len(epochs(observer)) == 1
    assert records(observer, "ending") == []


def test_other_ranks_are_silent(tmp_path):
    callback = ObserverCallback(config=offline())
    running = trainer(Classifier(), callback, tmp_path)
    running.state.is_world_process_zero = False
    callback.on_train_begin(running.args, running.state, running.control, model=running.model)
    assert callback.observer.folder is None


@pytest.fixture
def accelerator():
    """``accelerator(tracker)`` logs with it."""

    def make(tracker):
        made = Accelerator(cpu=True, log_with=tracker)
        made.init_trackers("Digits", config={"learning_rate": 0.1})
        return made

    return make


def test_accelerate_steps_and_epochs(accelerator):
    tracker = ObserverTracker(config=offline())
    running = accelerator(tracker)
    for epoch in range(2):
        for loss in (2.0, 1.0):
            running.log({"train_loss": loss, "lr": 0.1, "epoch": epoch})
        running.log({"eval_loss": 1.5, "eval_accuracy": 0.5, "epoch": epoch})
    running.end_training()
    found = epochs(tracker.observer)
    assert [(each["epoch"], each["loss"]["n_batches"], each["loss"]["train_mean"]) for each in found] == [
        (0, 2, 1.5),
        (1, 2, 1.5),
    ]
    assert found[0]["loss"]["val"] == {"val_loss": 1.5, "val_acc": 0.5}
    assert hyperparameters(tracker.observer) == {"learning_rate": 0.1}
    assert ending(tracker.observer) == ("finished", None)


def test_accelerate_without_epochs_they_end_with_a_validation(accelerator):
    tracker = ObserverTracker(config=offline())
    running = accelerator(tracker)
    for loss in (2.0, 1.0, 0.5):
        running.log({"loss": loss, "name": "a text", "grad_norm": 1.0})
        running.log({"val/loss": loss})
    running.log({"loss": 0.25})
    running.end_training()
    assert [each["loss"]["train_mean"] for each in epochs(tracker.observer)] == [2.0, 1.0, 0.5, 0.25]


def test_accelerate_hands_out_the_observer(accelerator):
    running = accelerator(ObserverTracker(config=offline()))
    observer = running.get_tracker("mldiag", unwrap=True)
    observer.register_model(net())
    assert records(observer, "architecture")
    running.end_training()


def test_accelerate_knows_it_by_name(accelerator, monkeypatch):
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    register_tracker_class(ObserverTracker)
    running = accelerator("mldiag")
    (opening,) = records(running.trackers[0].observer, "opening")
    assert opening["project"] == "Digits"
    running.end_training()
    LOGGER_TYPE_TO_CLASS.pop("mldiag")


def test_accelerate_other_processes_are_silent(monkeypatch):
    monkeypatch.setattr(PartialState, "is_main_process", False)
    tracker = ObserverTracker(config=offline())
    tracker.start()
    tracker.log({"loss": 1.0})
    assert tracker.observer.folder is None


def test_accelerate_a_crash_is_recorded_around_the_training(accelerator):
    tracker = ObserverTracker(config=offline())
    with pytest.raises(ZeroDivisionError), tracker:
        accelerator(tracker).log({"loss": 1 / 0})
    assert ending(tracker.observer) == ("crashed", "ZeroDivisionError: division by zero")


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_transformers_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("Transformers"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)


def test_accelerate_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("Accelerate"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)
