"""What is promised to whoever observes a training, beyond what the tests of the parts show."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import pytest
import torch

from observer_client import ObserverConfig, guard, watch
from tests.client.conftest import batches, net, records, wait_until
from tests.client.test_delivery import train


@pytest.fixture
def calls(monkeypatch):
    """In which threads somebody asked for an address or a connection."""
    made = []

    def noting(name):
        original = getattr(socket, name)

        def note(*arguments, **named):
            made.append(threading.current_thread())
            return original(*arguments, **named)

        monkeypatch.setattr(socket, name, note)

    noting("getaddrinfo")
    noting("create_connection")
    return made


def test_the_training_s_thread_never_uses_the_network(observe, server, calls):
    observer = observe(server)
    observer.register_model(net())
    train(observer, 2)
    observer.log("a line")
    wait_until(lambda: server.sessions and len(server.session.epochs) == 2)
    observer.close()
    assert calls and threading.current_thread() not in calls


def test_nothing_is_asked_for_when_offline(observe, calls):
    observer = observe()
    train(observer, 2)
    observer.close()
    assert calls == []


def test_a_host_that_does_not_exist(observe, server, tmp_path, capsys):
    observer = observe(url="http://no-such-host.invalid:8000", mode="online", close_seconds=0.5)
    train(observer, 2)
    observer.close()
    assert observer.outcome.pending == len(records(observer)) > 0
    assert "no server yet" in capsys.readouterr().err


def test_a_disk_that_takes_its_time_holds_up_no_training(observe, server, monkeypatch):
    observer, release = observe(server), threading.Event()
    monkeypatch.setattr("observer_client.spool.os.fsync", lambda file: release.wait(60))
    train(observer, 2)
    assert [each["epoch"] for each in records(observer, "epoch")] == [0, 1]
    release.set()


def test_what_observing_costs_is_recorded(observe):
    observer, model = observe(layer_health_every=1), net()
    observer.register_model(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        began = time.perf_counter()
        for x, y in batches(4):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            observer.step(loss=loss)
        observer.flush()
        took = time.perf_counter() - began
        assert 0 < records(observer, "epoch")[-1]["throughput"]["observer_seconds"] < took


def test_each_kind_of_trouble_is_said_once(observe, forgiving, caplog):
    observer = observe()
    for _ in range(5):
        observer.step(0, "high")
        observer.flush(val_loss=[1, 2])
        observer.register_model("no model")
    assert len([each for each in caplog.records if "failed" in each.message]) == len(guard._said) == 3


class Loud(Exception):
    def __str__(self):
        raise RuntimeError("an error that cannot be told")


@pytest.mark.parametrize("trouble", ["filter", "text"])
def test_an_error_that_cannot_be_logged_stays_ours(forgiving, monkeypatch, trouble):
    def broken(record):
        raise ValueError("I/O operation on closed file")

    @guard.harmless
    def fail():
        raise Loud if trouble == "text" else KeyError("x")

    monkeypatch.setattr(guard.log, "filters", [broken] if trouble == "filter" else [])
    assert fail() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_closed_terminal_stops_nothing(observe, forgiving, monkeypatch):
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    observer = observe()
    observer.step(0, "high")
    observer.close()
    assert [each["status"] for each in records(observer, "ending")] == ["finished"]


def test_a_link_comes_first_and_a_report_last(observe, server, capsys):
    observer = observe(server)
    wait_until(lambda: server.sessions and observer.url)
    wait_until(lambda: observer._recording.spool.pending == 0)
    train(observer, 1)
    observer.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"mldiag: observing · {server.url}/sessions/12"
    assert last == f"mldiag: score 73/100 · 1 critical, 2 warnings · {server.url}/sessions/12"


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_the_mode_of_the_environment(mode, monkeypatch, tmp_path, server):
    monkeypatch.setenv("MLDIAG_MODE", mode.upper())
    monkeypatch.setenv("MLDIAG_URL", server.url)
    with watch(net()) as observer:
        observer.step(0, 1.0)
    assert (len(server.sessions), observer.folder is None) == (mode == "online", mode == "disabled")


def test_disabled_there_is_no_thread_no_file_and_no_hook(monkeypatch, tmp_path):
    def traces():
        return threading.active_count(), sys.excepthook, torch.autograd.backward, list(tmp_path.rglob("*"))

    model, before = net(), traces()
    with watch(model, config=ObserverConfig(mode="disabled")) as observer:
        observer.step(0, 1.0)
        assert traces() == before and not any(each._forward_pre_hooks for each in model.modules())
