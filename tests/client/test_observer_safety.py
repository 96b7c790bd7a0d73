"""The training, its process and its errors stay the training's own."""

from __future__ import annotations

import contextlib
import copy
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
    observer, write, calls = observe(close_seconds=0.2), os.write, []

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
