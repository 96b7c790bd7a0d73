"""What a step is told, and what becomes of it."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import torch

from tests.client.conftest import batches, net, records


def epochs(observer):
    return records(observer, "epoch")


@pytest.mark.parametrize("loss", ["high", object(), [1.0, 2.0]], ids=["word", "object", "list"])
def test_a_loss_that_is_no_number_is_said_once_and_survived(observe, forgiving, caplog, loss):
    observer = observe()
    for step in range(3):
        observer.step(step, loss)
    observer.step(3, 1.0)
    observer.flush()
    assert epochs(observer)[0]["loss"]["n_batches"] == 1
    assert caplog.text.count("Observer.step failed") == 1


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


@pytest.mark.parametrize("name", ["lr", "batch_size", "grad_norm"])
def test_a_figure_that_is_no_number_costs_itself_only(observe, forgiving, caplog, name):
    observer = observe()
    for step in range(300):
        observer.step(step, 1.0, **{"grad_norm": 2.0, name: [0.1]})
    observer.flush(lr=[0.1])
    (epoch,) = epochs(observer)
    assert (epoch["loss"]["n_batches"], epoch.get("learning_rate")) == (300, None)
    assert f"{name} is no number: [0.1]" in caplog.text
