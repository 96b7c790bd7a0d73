"""Lightning's Trainer, observed by the callback and by the logger."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lightning.pytorch as lightning
    from lightning.pytorch.plugins import MixedPrecision

    from observer_client.frameworks.lightning import ObserverCallback, ObserverLogger

from observer_client import ObserverConfig
from tests.client.conftest import batches, example, net, recorded, records

pytestmark = [
    pytest.mark.xdist_group("frameworks"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def offline(**settings):
    return ObserverConfig(mode="offline", quiet=True, **settings)


class Digits(lightning.LightningModule):
    def __init__(self, learning_rate=0.1, fails_at=None):
        super().__init__()
        self.save_hyperparameters()
        self.net = net()
        self.losses = []

    def training_step(self, batch, number):
        if self.global_step == self.hparams.fails_at:
            raise ZeroDivisionError("no such batch")
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, number):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def test_step(self, batch, number):
        self.log("test_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.learning_rate)


class Adversaries(Digits):
    """Two optimizers, stepped by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, number):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            loss = self.net(batch[0]).sum() * 0 + 2.0
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]


def loader(count=4):
    x, y = (torch.cat(each) for each in zip(*batches(count), strict=True))
    return DataLoader(TensorDataset(x, y), batch_size=6)


def trainer(*callbacks, logger=False, **settings):
    settings = {"max_epochs": 2, "enable_progress_bar": False, "enable_model_summary": False, **settings}
    return lightning.Trainer(
        callbacks=list(callbacks), logger=logger, enable_checkpointing=False, accelerator="cpu", **settings
    )


def fit(model, callback, *, ckpt_path=None, **settings):
    running = trainer(callback, **settings)
    running.fit(model, loader(), loader(1), ckpt_path=ckpt_path)
    return running


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit of two epochs: the model, the Observer, the trainer."""
    torch.manual_seed(0)
    config = offline(directory=str(tmp_path_factory.mktemp("runs")))
    model, callback = Digits(), ObserverCallback(config=config, run_name="digits")
    running = fit(model, callback, log_every_n_steps=1)
    return model, callback.observer, running


def epochs(observer):
    return records(observer, "epoch")


def ending(observer):
    (found,) = records(observer, "ending")
    return found["status"], found.get("reason")


def test_epochs_have_every_loss(fitted):
    model, observer, _ = fitted
    means = [sum(model.losses[:4]) / 4, sum(model.losses[4:]) / 4]
    assert [each["epoch"] for each in epochs(observer)] == [0, 1]
    assert [each["loss"]["train_mean"] for each in epochs(observer)] == pytest.approx(means)
    assert [each["throughput"]["samples_processed"] for each in epochs(observer)] == [24, 24]


def test_epochs_have_the_metrics_that_were_logged(fitted):
    _, observer, running = fitted
    last = epochs(observer)[-1]["loss"]["val"]
    assert last["val_loss"] == pytest.approx(float(running.callback_metrics["val_loss"]))
    assert last["train_loss_epoch"] == pytest.approx(epochs(observer)[-1]["loss"]["train_mean"])


def test_model_rate_and_hyperparameters_are_recorded(fitted):
    _, observer, _ = fitted
    (told,) = [each["hyperparameters"] for each in records(observer, "update") if "hyperparameters" in each]
    assert (told["learning_rate"], told["optimizer"], told["max_epochs"]) == (0.1, "SGD", 2)
    assert epochs(observer)[0]["learning_rate"] == 0.1
    assert "net.0" in records(observer, "architecture")[-1]["layers"]


def test_gradients_of_layers_are_recorded(fitted):
    _, observer, _ = fitted
    assert epochs(observer)[0]["layer_health"]["layers"]["net.0"]


def test_the_run_is_finished(fitted):
    assert ending(fitted[1]) == ("finished", None)


def test_accumulated_batches_are_one_step():
    model, callback = Digits(), ObserverCallback(config=offline())
    fit(model, callback, accumulate_grad_batches=2, max_epochs=1)
    (epoch,) = epochs(callback.observer)
    assert (epoch["loss"]["n_batches"], epoch["throughput"]["samples_processed"]) == (2, 24)
    assert epoch["loss"]["train_mean"] == pytest.approx(sum(model.losses) / 4)


def test_the_scaler_of_mixed_precision_is_found():
    callback = ObserverCallback(config=offline())
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    fit(Digits(), callback, max_epochs=1, plugins=[precision])
    assert epochs(callback.observer)[0]["loss_scale"] == {"scale": 1024.0, "updates": 4, "skipped": 0}


def test_metrics_of_an_old_validation_are_left_out():
    callback = ObserverCallback(config=offline())
    fit(Digits(), callback, check_val_every_n_epoch=2, max_epochs=3)
    assert ["val_loss" in each["loss"]["val"] for each in epochs(callback.observer)] == [False, True, False]


def test_optimizers_stepped_by_hand():
    callback = ObserverCallback(config=offline())
    fit(Adversaries(), callback, max_epochs=1)
    (epoch,) = epochs(callback.observer)
    assert (epoch["loss"]["n_batches"], epoch["loss"]["train_mean"]) == (4, pytest.approx(4.0))


def test_a_crash_is_recorded_and_passed_on():
    callback = ObserverCallback(config=offline())
    with pytest.raises(ZeroDivisionError):
        fit(Digits(fails_at=5), callback)
    assert ending(callback.observer) == ("crashed", "ZeroDivisionError: no such batch")
    assert [each["loss"]["n_batches"] for each in epochs(callback.observer)] == [4, 1]


def test_each_fit_is_a_run():
    callback, model = ObserverCallback(config=offline()), Digits()
    runs = []
    for _ in range(2):
        fit(model, callback, max_epochs=1)
        runs.append(callback.observer)
    assert runs[0].key != runs[1].key
    assert [len(epochs(each)) for each in runs] == [1, 1]


def test_a_given_observer_is_left_open(observe):
    observer = observe()
    for _ in range(2):
        fit(Digits(), ObserverCallback(observer), max_epochs=1)
    assert len(epochs(observer)) == 2
    assert records(observer, "ending") == []


def test_a_resumed_fit_goes_on_counting(fitted, tmp_path):
    fitted[2].save_checkpoint(tmp_path / "last.ckpt")
    callback = ObserverCallback(config=offline())
    fit(Digits(), callback, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert [(each["epoch"], each["steps"]["first"][0]) for each in epochs(callback.observer)] == [(2, 8)]
    (told,) = [each["hyperparameters"] for each in records(callback.observer, "update") if "hyperparameters" in each]
    assert told["resumed_from"].endswith("last.ckpt")


def test_a_test_after_the_fit_joins_its_last_epoch():
    callback = ObserverCallback(config=offline())
    running = fit(Digits(), callback, max_epochs=1)
    before = epochs(callback.observer)[-1]["loss"]["val"]
    tested = running.test(running.model, loader(2), verbose=False)[0]["test_loss"]
    validated = running.validate(running.model, loader(2), verbose=False)[0]["val_loss"]
    after = epochs(callback.observer)[-1]["loss"]["val"]
    told = {"test_loss": pytest.approx(tested), "final_val_loss": pytest.approx(validated)}
    assert after == {**before, **told} and ending(callback.observer)[0] == "finished"


def test_a_validation_before_any_fit_is_nobody_s():
    callback = ObserverCallback(config=offline())
    trainer(callback).validate(Digits(), loader(1), verbose=False)
    assert callback.observer.folder is None


def test_other_ranks_are_silent():
    callback, running = ObserverCallback(config=offline()), trainer()
    running.strategy.global_rank = 1
    callback.on_fit_start(running, Digits())
    assert callback.observer.folder is None


def test_the_logger_records_what_is_logged():
    logger, model = ObserverLogger(config=offline()), Digits()
    trainer(logger=logger, log_every_n_steps=2).fit(model, loader(), loader(1))
    found = epochs(logger.observer)
    assert [each["loss"]["n_batches"] for each in found] == [2, 2]
    assert found[0]["loss"]["train_mean"] == pytest.approx((model.losses[1] + model.losses[3]) / 2, rel=1e-4)
    assert [sorted(each["loss"]["val"]) for each in found] == [["train_loss_epoch", "val_loss"]] * 2
    assert ending(logger.observer) == ("finished", None)


def test_the_logger_records_hyperparameters_and_is_named():
    logger = ObserverLogger(config=offline())
    trainer(logger=logger, max_epochs=1).fit(Digits(learning_rate=0.01), loader())
    told = [each["hyperparameters"] for each in records(logger.observer, "update") if "hyperparameters" in each]
    assert told[0]["learning_rate"] == 0.01
    assert (logger.name, logger.version) == ("mldiag", logger.observer.key)


def test_the_logger_records_a_crash():
    logger = ObserverLogger(config=offline())
    with pytest.raises(ZeroDivisionError):
        trainer(logger=logger, log_every_n_steps=1).fit(Digits(fails_at=3), loader())
    assert ending(logger.observer) == ("crashed", "ZeroDivisionError: no such batch")


def test_a_second_fit_with_the_logger_is_a_run():
    logger, model = ObserverLogger(config=offline()), Digits()
    runs = []
    for _ in range(2):
        trainer(logger=logger, max_epochs=1, log_every_n_steps=1).fit(model, loader())
        runs.append(logger.observer)
    assert [len(epochs(each)) for each in runs] == [1, 1]


def test_lightning_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("Lightning"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)
