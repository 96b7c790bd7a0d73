"""Keras on PyTorch, and skorch, observed; and what an adapter says without its library."""

from __future__ import annotations

import importlib
import sys
import warnings

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    import skorch

    from observer_client.frameworks.keras import ObserverCallback
    from observer_client.frameworks.skorch import ObserverCallback as SkorchCallback

from observer_client import ObserverConfig
from tests.client.conftest import batches, example, net, recorded, records

pytestmark = [pytest.mark.xdist_group("frameworks"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def offline(**settings):
    return ObserverConfig(mode="offline", quiet=True, **settings)


class Spiked(keras.losses.Loss):
    """Counts its calls; one of them is a thousand times too large, one fails if told."""

    def __init__(self, fails_at=None):
        super().__init__(name="spiked")
        self.calls = 0
        self.fails_at = fails_at

    def call(self, y, predicted):
        self.calls += 1
        if self.calls == self.fails_at:
            raise ZeroDivisionError("no such batch")
        return (predicted * 0).sum() + (1000.0 if self.calls == 3 else 1.0)


def digits():
    x, y = (torch.cat(each).numpy() for each in zip(*batches(4), strict=True))
    return x, y


def compiled(loss="sparse_categorical_crossentropy", **settings):
    layers = [keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, **settings)
    return model


def fit(model, callback, **settings):
    x, y = digits()
    settings = {"epochs": 2, "batch_size": 6, "verbose": 0, "shuffle": False, **settings}
    model.fit(x, y, callbacks=[callback], **settings)


def epochs(observer):
    return records(observer, "epoch")


def ending(observer):
    (found,) = records(observer, "ending")
    return found["status"], found.get("reason")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two epochs with validation: the callback."""
    keras.utils.set_random_seed(0)
    callback = ObserverCallback(config=offline(directory=str(tmp_path_factory.mktemp("runs"))))
    fit(compiled(metrics=["accuracy"]), callback, validation_data=digits())
    return callback


def test_keras_epochs_have_metrics(fitted):
    found = epochs(fitted.observer)
    assert [(each["epoch"], each["loss"]["n_batches"]) for each in found] == [(0, 4), (1, 4)]
    assert sorted(found[0]["loss"]["val"]) == ["train_accuracy", "val_acc", "val_loss"]
    assert found[0]["learning_rate"] == pytest.approx(0.1)
    assert ending(fitted.observer) == ("finished", None)


def test_keras_an_evaluation_after_the_fit_joins_its_last_epoch():
    callback, model = ObserverCallback(config=offline()), compiled(metrics=["accuracy"])
    fit(model, callback, epochs=1)
    x, y = digits()
    loss, accuracy = model.evaluate(x, y, verbose=0, callbacks=[callback])
    found = epochs(callback.observer)[-1]["loss"]["val"]
    assert (found["test_loss"], found["test_accuracy"]) == (pytest.approx(loss), pytest.approx(accuracy))


def test_keras_model_and_settings_are_recorded(fitted):
    (told,) = [each["hyperparameters"] for each in records(fitted.observer, "update") if "hyperparameters" in each]
    assert (told["optimizer"], told["loss"], told["epochs"]) == ("SGD", "sparse_categorical_crossentropy", 2)
    (found,) = records(fitted.observer, "architecture")
    assert found["total_parameters"] == found["trainable_parameters"] == 67
    assert [each["parameters"] for each in found["layers"].values()] == [4 * 8 + 8, 8 * 3 + 3]


def test_keras_a_spike_is_not_smeared():
    callback = ObserverCallback(config=offline())
    fit(compiled(Spiked()), callback, epochs=1)
    assert sorted(epochs(callback.observer)[0]["steps"]["loss_max"]) == [1.0, 1.0, 1.0, 1000.0]


def test_keras_each_fit_is_a_run_and_counts_on():
    callback, model = ObserverCallback(config=offline()), compiled()
    fit(model, callback, epochs=1)
    first = callback.observer
    fit(model, callback, initial_epoch=1, epochs=2)
    assert [[each["epoch"] for each in epochs(run)] for run in (first, callback.observer)] == [[0], [1]]


def test_keras_a_crash_is_recorded_around_the_fit():
    callback, backward = ObserverCallback(config=offline()), torch.autograd.backward
    with pytest.raises(ZeroDivisionError), callback:
        fit(compiled(Spiked(fails_at=2)), callback)
    assert ending(callback.observer) == ("crashed", "ZeroDivisionError: no such batch")
    assert torch.autograd.backward is backward


def test_keras_a_given_observer_is_left_open(observe):
    observer = observe()
    fit(compiled(), ObserverCallback(observer), epochs=1)
    assert (len(epochs(observer)), records(observer, "ending")) == (1, [])


def test_keras_switched_off_it_touches_nothing(monkeypatch):
    monkeypatch.setenv("MLDIAG_MODE", "disabled")
    callback = ObserverCallback()
    fit(compiled(), callback, epochs=1)
    assert callback.observer.folder is None


def classifier(callback, **settings):
    settings = {"max_epochs": 2, "lr": 0.1, "batch_size": 8, "verbose": 0, "train_split": None, **settings}
    return skorch.NeuralNetClassifier(
        net, criterion=torch.nn.CrossEntropyLoss, callbacks=[("mldiag", callback)], **settings
    )


def test_skorch_epochs_have_losses_and_metrics():
    callback = SkorchCallback(config=offline())
    trained = classifier(callback, train_split=skorch.dataset.ValidSplit(3, stratified=False)).fit(*digits())
    found = epochs(callback.observer)
    assert [(each["epoch"], each["loss"]["n_batches"]) for each in found] == [(0, 2), (1, 2)]
    assert found[1]["loss"]["train_mean"] == pytest.approx(trained.history[-1]["train_loss"])
    assert found[1]["loss"]["val"] == {
        "val_loss": pytest.approx(trained.history[-1]["valid_loss"]),
        "val_acc": pytest.approx(trained.history[-1]["valid_acc"]),
    }
    assert ending(callback.observer) == ("finished", None)


def test_skorch_partial_fits_are_runs_that_count_on():
    callback = SkorchCallback(config=offline())
    trained = classifier(callback, max_epochs=1).fit(*digits())
    first = callback.observer
    trained.partial_fit(*digits())
    assert [[each["epoch"] for each in epochs(run)] for run in (first, callback.observer)] == [[0], [1]]


def test_skorch_copies_of_a_net_have_runs_of_their_own():
    from sklearn.base import clone

    callback = SkorchCallback(config=offline())
    twin = clone(classifier(callback, max_epochs=1)).fit(*digits())
    assert callback.observer.folder is None
    assert len(epochs(dict(twin.callbacks_)["mldiag"].observer)) == 1


def test_skorch_a_crash_is_recorded_around_the_fit():
    callback = SkorchCallback(config=offline())
    x, y = digits()
    with pytest.raises(IndexError), callback:
        classifier(callback).fit(x, np.where(np.arange(len(y)) == 12, 7, y))
    assert ending(callback.observer)[0] == "crashed"


@pytest.mark.parametrize("name", ["lightning", "transformers", "accelerate", "keras", "skorch"])
def test_without_its_library_an_adapter_says_what_to_install(name, monkeypatch):
    for module in [each for each in sys.modules if each.split(".")[0] in (name, "pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    monkeypatch.delitem(sys.modules, f"observer_client.frameworks.{name}", raising=False)
    with pytest.raises(ImportError, match=rf"needs {name}: pip install 'mldiag-observer\[{name}\]'"):
        importlib.import_module(f"observer_client.frameworks.{name}")


def test_keras_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("Keras"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)


def test_skorch_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("skorch"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)
