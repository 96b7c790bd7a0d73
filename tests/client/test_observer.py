from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import gc
import json
import logging
import os
import pickle
import random
import sys
import threading
import weakref

import numpy as np
import pytest
import torch

from observer_client import Observer, ObserverConfig
from tests.client.conftest import batches, net, records


def epochs(observer):
    return records(observer, "epoch")


def statuses(observer):
    return [ending["status"] for ending in records(observer, "ending")]


def test_close_flushes_what_is_left(observe):
    observer = observe()
    observer.step(0, 1.0)
    observer.close()
    assert [epoch["loss"]["n_batches"] for epoch in epochs(observer)] == [1]


def test_close_after_flush_adds_no_epoch(observe):
    observer = observe()
    observer.step(0, 1.0)
    observer.flush()
    observer.close()
    observer.close()
    assert (len(epochs(observer)), statuses(observer)) == (1, ["finished"])


def test_after_close_nothing_happens(observe, tmp_path):
    observer = observe()
    observer.close()
    before = records(observer)
    observer.step(0, 1.0)
    observer.flush()
    observer.log("too late")
    assert records(observer) == before
    assert observer.export(tmp_path / "late.json").exists()


def test_metrics_of_an_epoch(observe):
    observer = observe()
    observer.flush({"val_loss": torch.tensor(0.5), "val_acc": np.float32(0.25)}, f1=1, auc=None)
    assert epochs(observer)[0]["loss"]["val"] == {"val_loss": 0.5, "val_acc": 0.25, "f1": 1.0, "auc": None}


def test_a_metric_that_is_no_number_costs_itself_only(observe, forgiving, caplog):
    observer = observe()
    observer.flush({"val_loss": 0.5, "confusion": [[1, 2], [3, 4]]})
    assert epochs(observer)[0]["loss"]["val"] == {"val_loss": 0.5, "confusion": None}
    assert "the metric 'confusion' is no number" in caplog.text


@pytest.mark.parametrize("loss", ["high", object(), [1.0, 2.0]], ids=["word", "object", "list"])
def test_a_loss_that_is_no_number_is_said_once_and_survived(observe, forgiving, caplog, loss):
    observer = observe()
    for step in range(3):
        observer.step(step, loss)
    observer.step(3, 1.0)
    observer.flush()
    assert epochs(observer)[0]["loss"]["n_batches"] == 1
    assert caplog.text.count("Observer.step failed") == 1


def test_an_epoch_may_be_numbered_and_repeated(observe):
    observer = observe()
    for number in (5, None, 5):
        observer.flush(epoch=number)
    assert [(epoch["epoch"], epoch["attempt"]) for epoch in epochs(observer)] == [(5, 0), (6, 0), (5, 1)]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"lr": np.float64(0.1), "sizes": (1, 2), "device": torch.device("cpu"), "bad": np.nan}, id="dict"),
        pytest.param(
            argparse.Namespace(lr=torch.tensor(0.1, dtype=torch.float64), sizes=[1, 2], device="cpu", bad=float("nan")),
            id="namespace",
        ),
    ],
)
def test_hyperparameters_of_any_kind(observe, values):
    observer = observe()
    observer.log_hyperparameters(values)
    (update,) = [each for each in records(observer, "update") if "hyperparameters" in each]
    assert update["hyperparameters"] == {"lr": 0.1, "sizes": [1, 2], "device": "cpu", "bad": "nan"}


@pytest.mark.parametrize("known", ["seen", "registered", "constructor"])
def test_the_learning_rate_of_the_optimizer(observe, known):
    model, other = net(), net()
    optimizer, stranger = (torch.optim.SGD(each.parameters(), lr=lr) for each, lr in ((model, 0.5), (other, 9.0)))
    observer = observe(optimizer=optimizer if known == "constructor" else None)
    observer.register_model(model, optimizer if known == "registered" else None)
    for step, (x, y) in enumerate(batches(4)):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        stranger.step()
        optimizer.step()
        observer.step(step, loss)
        optimizer.param_groups[0]["lr"] /= 2
    observer.flush()
    assert epochs(observer)[0]["learning_rate"] == 0.5 / 16
    assert epochs(observer)[0]["steps"]["learning_rate"] == [0.5, 0.25, 0.125, 0.0625]


def test_a_rate_in_a_tensor(observe):
    model = net()
    observer = observe()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.5))
    observer.register_model(model, optimizer)
    observer.step(0, 1.0)
    observer.flush()
    assert epochs(observer)[0]["learning_rate"] == 0.5


def test_steps_go_on_when_the_optimizer_is_gone(observe):
    optimizer = torch.optim.SGD(net().parameters(), lr=0.5)
    observer = observe(optimizer=optimizer)
    observer.step(0, 1.0)
    del optimizer
    gc.collect()
    observer.step(1, 3.0)
    observer.flush()
    assert (epochs(observer)[0]["loss"]["n_batches"], epochs(observer)[0].get("learning_rate")) == (2, None)


def test_an_optimizer_without_a_rate(observe):
    optimizer = torch.optim.SGD(net().parameters(), lr=0.5)
    del optimizer.param_groups[0]["lr"]
    observer = observe(optimizer=optimizer)
    observer.step(0, 1.0)
    observer.flush()
    assert epochs(observer)[0]["loss"]["n_batches"] == 1


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda: torch.tensor([1.0, 3.0]), id="several elements"),
        pytest.param(lambda: torch.tensor([2.0]), id="one element"),
        pytest.param(lambda: torch.tensor(2.0, requires_grad=True) * 1, id="with a graph"),
        pytest.param(lambda: torch.tensor(2), id="whole number"),
        pytest.param(lambda: np.float32(2.0), id="NumPy"),
        pytest.param(lambda: 2, id="int"),
    ],
)
def test_a_loss_of_any_kind(observe, loss):
    observer = observe()
    for step in range(300):
        observer.step(step, loss())
    observer.flush()
    assert (epochs(observer)[0]["loss"]["train_mean"], epochs(observer)[0]["loss"]["n_batches"]) == (2.0, 300)


def test_a_step_keeps_no_tensor(observe):
    weights = torch.ones(2, requires_grad=True)
    loss = (weights * 2).sum()
    made = weakref.ref(loss)
    observer = observe()
    observer.step(0, loss)
    del loss
    assert made() is None
    assert len(observer._steps.fresh) == 1


def test_a_rate_told_by_hand(observe):
    observer = observe()
    observer.step(0, 1.0, lr=0.125, grad_norm=torch.tensor(3.0), clipped=True)
    observer.flush()
    assert epochs(observer)[0]["steps"]["learning_rate"] == [0.125]
    assert epochs(observer)[0]["gradients"] == {"norm_mean": 3.0, "norm_max": 3.0, "clipped_share": 1.0}


def test_log_lines_are_numbered(observe):
    observer = observe()
    observer.log("epoch 3 restored")
    observer.log("out of disk", "error")
    lines = records(observer, "log")
    assert [(line["seq"], line["level"], line["kind"]) for line in lines] == [
        (1, "INFO", "console"),
        (2, "ERROR", "error"),
    ]


def test_with_block_ends_the_run(tmp_path):
    with Observer(config=ObserverConfig(mode="offline")) as observer:
        observer.step(0, 1.0)
    assert (len(epochs(observer)), statuses(observer)) == (1, ["finished"])


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        pytest.param(ValueError("no such label"), "crashed", "ValueError: no such label", id="crash"),
        pytest.param(KeyboardInterrupt(), "killed", "KeyboardInterrupt", id="Ctrl-C"),
        pytest.param(SystemExit(3), "crashed", "SystemExit: 3", id="exit code"),
        pytest.param(SystemExit(0), "finished", None, id="exit without error"),
    ],
)
def test_an_exception_is_recorded_and_passed_on(error, status, reason):
    with (
        pytest.raises(type(error)) as raised,
        Observer(config=ObserverConfig(mode="offline")) as observer,
    ):
        raise error
    assert raised.value is error
    (ending,) = records(observer, "ending")
    assert (ending["status"], ending.get("reason")) == (status, reason)
    assert [line["level"] for line in records(observer, "log")] == (["CRITICAL"] if type(error) is ValueError else [])


def test_hooks_of_the_process_are_put_back(observe):
    def hooks():
        return sys.excepthook, threading.excepthook, sys.exit, logging.getLogRecordFactory()

    before = hooks()
    observer = observe()
    assert hooks() != before
    observer.close()
    assert hooks() == before


def test_steps_and_flushes_from_many_threads(observe):
    observer = observe()

    def work():
        for step in range(500):
            observer.step(step, 1.0, batch_size=1)
            if step % 100 == 99:
                observer.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observer.close()
    found = epochs(observer)
    assert sum(epoch["loss"]["n_batches"] for epoch in found) == 2000
    assert sorted(epoch["epoch"] for epoch in found) == list(range(len(found)))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_is_silent(observe, copied):
    observer = observe()
    twin = copied(observer)
    twin.step(0, 1.0)
    twin.flush()
    assert epochs(observer) == []


def test_random_numbers_are_the_training_s(observe, server):
    def draws():
        return random.random(), torch.rand(1).item(), np.random.rand()

    def seed():
        random.seed(1), torch.manual_seed(1), np.random.seed(1)

    model, (x, y) = net(), batches(1)[0]
    seed()
    expected = draws()
    seed()
    observer = observe(server)
    observer.register_model(model, example_input=x)
    _, loss = observer.profile_step(model, x, y)
    observer.step(0, loss)
    observer.close()
    assert draws() == expected


def test_a_read_only_directory_stops_nothing(server, observe, tmp_path, caplog):
    (tmp_path / "taken").write_text("no folder can be made in a file")
    observer = observe(server, directory=str(tmp_path / "taken"))
    observer.step(0, 1.0)
    observer.flush()
    observer.close()
    assert sorted(server.session.epochs) == [(0, 0)]
    assert caplog.text.count("cannot write") == 1


def test_a_closed_observer_is_not_kept(tmp_path):
    observer = Observer(config=ObserverConfig(mode="offline"))
    observer.close()
    reference = weakref.ref(observer)
    del observer
    gc.collect()
    assert reference() is None


def test_an_export_that_cannot_be_written_is_said(observe, forgiving, caplog, tmp_path):
    (tmp_path / "file").write_text("")
    assert observe().export(tmp_path / "file" / "run.json") is None
    assert "export failed" in caplog.text


def test_an_export_that_fails_leaves_nothing_behind(observe, forgiving, tmp_path):
    (tmp_path / "run.json").mkdir()
    assert observe().export(tmp_path / "run.json") is None
    assert [each.name for each in tmp_path.glob("run.json*")] == ["run.json"]


def test_the_key_is_not_recorded(observe, tmp_path):
    observer = observe(api_key="mldiag_secret")
    assert "mldiag_secret" not in json.dumps(records(observer))
    assert "mldiag_secret" not in repr(observer.config)


def test_where_it_ran(observe):
    (opening,) = records(observe(project_id=7), "opening")
    assert opening["environment"]["torch"] == torch.__version__
    assert (opening["project_id"], opening["config"]["track_memory"]) == (7, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [("Digits", {"project": "Digits"}), ("12", {"project_id": 12})],
    ids=["name", "number"],
)
def test_the_project_of_the_environment(monkeypatch, observe, text, told):
    monkeypatch.setenv("MLDIAG_PROJECT", text)
    (opening,) = records(observe(), "opening")
    assert {name: opening[name] for name in ("project", "project_id") if name in opening} == told


def test_an_epoch_number_given_as_metrics_costs_no_epoch(observe, forgiving, caplog):
    observer = observe()
    for number in range(3):
        observer.step(0, 1.0)
        observer.flush(number, val_loss=0.5)
    assert [epoch["loss"]["val"] for epoch in epochs(observer)] == [{"val_loss": 0.5}] * 3
    assert caplog.text.count("an epoch's number is epoch=") == 1


def test_an_epoch_that_is_no_number_gets_the_next_one(observe, forgiving, caplog):
    observer = observe()
    observer.flush(epoch="last")
    assert [epoch["epoch"] for epoch in epochs(observer)] == [0]
    assert "epoch is no whole number: 'last'" in caplog.text


@pytest.mark.parametrize("name", ["lr", "batch_size", "grad_norm"])
def test_a_figure_that_is_no_number_costs_itself_only(observe, forgiving, caplog, name):
    observer = observe()
    for step in range(300):
        observer.step(step, 1.0, **{"grad_norm": 2.0, name: [0.1]})
    observer.flush(lr=[0.1])
    (epoch,) = epochs(observer)
    assert (epoch["loss"]["n_batches"], epoch.get("learning_rate")) == (300, None)
    assert f"{name} is no number: [0.1]" in caplog.text


def test_a_name_that_is_no_text(observe):
    (opening,) = records(observe(run_name=7), "opening")
    assert opening["run_name"] == "7"


def test_one_tag_is_not_taken_apart():
    with Observer(config=ObserverConfig(mode="offline", quiet=True), tags="baseline") as observer:
        assert records(observer, "opening")[0]["tags"] == ["baseline"]


@pytest.mark.parametrize("setting", ["close_seconds", "heartbeat_seconds"])
def test_for_ever_is_a_time_too(observe, server, setting):
    observer = observe(server, **{setting: float("inf")})
    observer.flush()
    observer.close()
    assert sorted(server.session.epochs) == [(0, 0)]


def test_a_dataclass_with_an_array(observe):
    config = dataclasses.make_dataclass("Config", ["weights", "name"])(np.ones(2), "a")
    observer = observe()
    observer.log_hyperparameters(config)
    assert [each["hyperparameters"] for each in records(observer, "update") if "hyperparameters" in each] == [
        {"weights": "[1. 1.]", "name": "a"}
    ]


def test_a_level_may_be_a_number(observe):
    observer = observe()
    observer.log("nearly full", logging.WARNING)
    assert [line["level"] for line in records(observer, "log")] == ["WARNING"]


def test_runs_that_overlap_leave_no_hooks_behind(observe):
    def depth():
        count, hook = 0, logging.getLogRecordFactory()
        while (link := getattr(hook, "__self__", None)) is not None:
            count, hook = count + 1, link._previous
        return count

    before, last = depth(), observe()
    for _ in range(5):
        last, closed = observe(), last
        closed.close()
    assert depth() == before + 1


def within(seconds, work):
    """Do ``work`` in a thread, which a deadlock does not take along."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "deadlock"


def test_a_log_line_in_the_middle_of_a_record(observe, monkeypatch):
    # What a signal handler or a finalizer does.
    observer, write, calls = observe(), os.write, []

    def interrupted(file, data):
        calls.append(data)
        if len(calls) == 1:
            logging.getLogger("slurm").warning("preempted")
        return write(file, data)

    monkeypatch.setattr("observer_client.spool.os.write", interrupted)
    within(20, observer.flush)
    assert [line["msg"] for line in records(observer, "log")] == ["preempted"]
    seqs = [entry.seq for entry in observer._recording.spool.everything()]
    assert seqs == sorted(set(seqs))


def test_a_run_may_be_closed_in_the_middle_of_a_record(observe, monkeypatch):
    observer, write, calls = observe(), os.write, []

    def interrupted(file, data):
        calls.append(data)
        if len(calls) == 1:
            observer.close()
            raise SystemExit
        return write(file, data)

    def work():
        with contextlib.suppress(SystemExit):
            observer.flush(val_loss=0.5)

    monkeypatch.setattr("observer_client.spool.os.write", interrupted)
    within(20, work)
    assert [epoch["loss"]["val"] for epoch in epochs(observer)] == [{"val_loss": 0.5}]
    assert statuses(observer) == ["finished"]


@pytest.mark.parametrize(
    ("given", "told"),
    [("Digits", {"project": "Digits"}), ("12", {"project_id": 12}), (12, {"project_id": 12})],
    ids=["name", "number as text", "number"],
)
def test_a_project_id_of_any_kind(observe, given, told):
    (opening,) = records(observe(project_id=given), "opening")
    assert {name: opening[name] for name in ("project", "project_id") if name in opening} == told
