"""The calls of an Observer, and the records that they leave."""

from __future__ import annotations

import argparse
import dataclasses
import logging

import numpy as np
import pytest
import torch

from observer_client import Observer, ObserverConfig
from tests.client.conftest import records


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


@pytest.mark.parametrize(
    ("given", "told"),
    [("Digits", {"project": "Digits"}), ("12", {"project_id": 12}), (12, {"project_id": 12})],
    ids=["name", "number as text", "number"],
)
def test_a_project_id_of_any_kind(observe, given, told):
    (opening,) = records(observe(project_id=given), "opening")
    assert {name: opening[name] for name in ("project", "project_id") if name in opening} == told
