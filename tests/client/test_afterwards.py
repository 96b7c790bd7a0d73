"""Metrics that come when the run is over."""

from __future__ import annotations

import math

import pytest

from observer_client.afterwards import tell_afterwards
from tests.client.conftest import records, wait_until
from tests.client.test_delivery import train


def metrics(observer):
    return [(each["epoch"], each["attempt"], each["loss"].get("val")) for each in records(observer, "epoch")]


@pytest.fixture
def over(observe):
    observer = observe()
    train(observer, 2)
    observer.close()
    return observer


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param({"test_acc": 0.9}, {"val_loss": 0.5, "test_acc": 0.9}, id="new"),
        pytest.param({"val_loss": 0.4}, {"val_loss": 0.5, "final_val_loss": 0.4}, id="another value"),
        pytest.param({"test_loss": math.nan}, {"val_loss": 0.5, "test_loss": "nan"}, id="not finite"),
    ],
)
def test_they_join_the_last_epoch(over, told, expected):
    tell_afterwards(over, told)
    assert metrics(over)[2:] == [(1, 1, expected)]
    assert records(over, "epoch")[2]["steps"] == records(over, "epoch")[1]["steps"]
    assert [each["status"] for each in records(over, "ending")] == ["finished"]


def test_they_add_up(over):
    tell_afterwards(over, {"test_acc": 0.9})
    tell_afterwards(over, {"test_f1": 0.8})
    assert metrics(over)[-1] == (1, 2, {"val_loss": 0.5, "test_acc": 0.9, "test_f1": 0.8})


@pytest.mark.parametrize("told", [{}, {"val_loss": 0.5}], ids=["nothing", "the same"])
def test_what_is_no_news_is_left_out(over, told):
    before = records(over)
    tell_afterwards(over, told)
    assert records(over) == before


def test_a_run_that_goes_on_counts_on(observe):
    observer = observe()
    train(observer, 1)
    tell_afterwards(observer, {"test_acc": 0.9})
    observer.flush(epoch=0)
    assert [each[:2] for each in metrics(observer)] == [(0, 0), (0, 1), (0, 2)]


def test_they_are_sent(server, observe):
    observer = observe(server)
    train(observer, 1)
    observer.close()
    tell_afterwards(observer, {"test_acc": 0.9})
    wait_until(lambda: (0, 1) in server.session.epochs)
    assert server.session.epochs[0, 1]["loss"]["val"] == {"val_loss": 0.5, "test_acc": 0.9}


def test_those_of_several_evaluations_in_a_row_are_sent(server, observe):
    observer = observe(server)
    train(observer, 1)
    observer.close()
    server.slow = 0.1
    for number in range(4):
        tell_afterwards(observer, {f"test_acc_{number}": 0.9})
    wait_until(lambda: (0, 4) in server.session.epochs)
    assert set(server.session.epochs[0, 4]["loss"]["val"]) == {"val_loss", *(f"test_acc_{each}" for each in range(4))}


def test_a_server_that_is_gone_gets_them_later(server, observe, caplog):
    observer = observe(server)
    train(observer, 1)
    observer.close()
    server.stop()
    tell_afterwards(observer, {"test_acc": 0.9})
    wait_until(lambda: "are kept in" in caplog.text)
    assert metrics(observer)[-1][2]["test_acc"] == 0.9


def test_a_run_without_an_epoch_has_no_place_for_them(observe):
    observer = observe()
    observer.close()
    tell_afterwards(observer, {"test_acc": 0.9})
    assert records(observer, "epoch") == []


def test_a_disabled_observer_has_none(observe):
    observer = observe(mode="disabled")
    tell_afterwards(observer, {"test_acc": 0.9})
    assert observer.folder is None
