"""Where the time of a step goes: around the loader, and estimated without it."""

from __future__ import annotations

import copy
import pickle
import time

import pytest
import torch
from torch.nn import functional
from torch.optim import optimizer as optim
from torch.utils.data import DataLoader, TensorDataset

from observer_client import phases
from tests.client.conftest import batches, net, records

PAUSE = 0.02


class Slow:
    """A loader that takes its time and knows no length."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        for batch in self.data:
            time.sleep(PAUSE)
            yield batch


def train(observer, model, loader, after_loss=None):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (x, y) in enumerate(loader):
        loss = functional.cross_entropy(model(x), y)
        if after_loss is not None:
            after_loss(number, loss)
        loss.backward()
        sgd.step()
        sgd.zero_grad()
        if after_loss is None:
            observer.step(number, loss, batch_size=len(x))


def last(observer):
    observer.flush()
    return records(observer, "epoch")[-1]


def test_waits_are_measured_around_the_loader(observe):
    observer, model = observe(), net()
    train(observer, model, observer.data(Slow(batches(5))))
    found = last(observer)["throughput"]
    assert found["data_wait_seconds"] >= 5 * PAUSE
    assert 0.5 < found["data_wait_share"] <= 1
    assert (found["data_wait_steps"], found["data_wait_estimated"]) == (5, False)


def test_waits_of_validation_do_not_count(observe):
    observer, model = observe(track_phases=False), net()
    with torch.no_grad():
        for x, _ in observer.data(Slow(batches(2))):
            model(x)
    observer.step(0, 1.0)
    assert "data_wait_seconds" not in last(observer)["throughput"]


def test_each_window_has_its_own_waits(observe):
    observer, model = observe(track_phases=False), net()
    train(observer, model, observer.data(Slow(batches(3))))
    observer.flush()
    train(observer, model, batches(3))
    assert "data_wait_seconds" not in last(observer)["throughput"]


def test_a_wait_is_estimated_without_the_loader(observe):
    observer, model = observe(), net()
    observer.register_model(model)
    train(observer, model, Slow(batches(8)))
    found = last(observer)
    assert found["throughput"]["data_wait_estimated"] and found["throughput"]["data_wait_share"] > 0.5
    # The first step's beginning and the last one's end are not seen, and the longest wait is left out.
    assert found["phases"]["steps"] == found["throughput"]["data_wait_steps"] == 5
    assert found["phases"]["data_seconds"] >= PAUSE
    assert all(found["phases"][f"{name}_seconds"] > 0 for name in ("forward", "backward", "optimizer"))


def test_what_comes_after_the_call_of_step_is_no_wait(observe, monkeypatch):
    """Some call `step` as soon as they have a loss."""
    observer, model = observe(), net()
    observer.register_model(model)

    def after_loss(number, loss):
        observer.step(number, loss)
        time.sleep(PAUSE)

    train(observer, model, batches(8), after_loss)
    assert last(observer)["phases"]["data_seconds"] < PAUSE / 2


@pytest.mark.parametrize("how", ["no_grad", "eval mode"])
def test_validation_in_between_is_no_wait(observe, how):
    observer, model = observe(), net()
    observer.register_model(model)
    for x, y in batches(6):
        train(observer, model, [(x, y)])
        with torch.set_grad_enabled(how != "no_grad"):
            time.sleep(PAUSE)
            model.train(how != "eval mode")(x)
            model.train()
    assert "phases" not in last(observer)


@pytest.mark.parametrize(("long_step", "left"), [(60.0, 0), (0.0, 2)], ids=["quick steps", "long steps"])
def test_hooks_stay_only_where_steps_are_long(observe, monkeypatch, long_step, left):
    monkeypatch.setattr(phases, "LONG_STEP", long_step)
    observer, model = observe(track_layer_health=False), net()
    observer.register_model(model)
    train(observer, model, batches(phases.QUICK_STEPS + 3))
    assert len(model._forward_hooks) + len(model._forward_pre_hooks) == left
    assert len(optim._global_optimizer_pre_hooks) == left // 2
    assert last(observer)["phases"]["steps"] > phases.QUICK_STEPS // 2


@pytest.mark.parametrize("off", [{"track_phases": False}, {"mode": "disabled"}], ids=str)
def test_not_when_switched_off(observe, off):
    observer, model = observe(track_layer_health=False, **off), net()
    observer.register_model(model)
    model(batches(1)[0][0])
    assert not model._forward_pre_hooks and not optim._global_optimizer_pre_hooks


def test_close_takes_the_hooks_away(observe):
    observer, model = observe(), net()
    observer.register_model(model)
    train(observer, model, batches(3))
    observer.close()
    assert not model._forward_hooks and not model._forward_pre_hooks
    assert not optim._global_optimizer_pre_hooks and not optim._global_optimizer_post_hooks


def test_a_compiled_model_gets_no_hooks(observe):
    observer, model = observe(track_layer_health=False), torch.compile(net(), backend="eager")
    observer.register_model(model)
    assert not any(each._forward_pre_hooks for each in model.modules())


def loader():
    x, y = torch.randn(12, 4), torch.randint(0, 3, (12,))
    return DataLoader(TensorDataset(x, y), batch_size=4)


def test_a_watched_loader_is_the_loader_in_everything_else(observe):
    plain = loader()
    watched = observe().data(plain)
    assert (len(watched), watched.batch_size, watched.dataset) == (3, 4, plain.dataset)
    assert [x.tolist() for x, _ in watched] == [x.tolist() for x, _ in plain]
    assert [len(list(watched)) for _ in range(2)] == [3, 3]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copied_loader_is_not_watched(observe, copied):
    assert type(copied(observe().data(loader()))) is DataLoader


def test_any_iterable_will_do(observe):
    watched = observe().data(number for number in range(3))
    assert bool(watched) and list(watched) == [0, 1, 2]
    with pytest.raises(TypeError):
        len(watched)


def test_errors_of_the_loader_are_the_user_s(observe):
    def broken():
        yield 1
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(observe().data(broken()))


def test_a_disabled_observer_gives_the_loader_back(observe):
    plain = loader()
    assert observe(mode="disabled").data(plain) is plain


def test_workers_load_as_ever(observe):
    x, y = torch.randn(12, 4), torch.randint(0, 3, (12,))
    plain = DataLoader(TensorDataset(x, y), batch_size=4, num_workers=1)
    observer = observe()
    assert torch.cat([found for found, _ in observer.data(plain)]).equal(x)
    observer.step(0, 1.0)
    assert last(observer)["throughput"]["data_wait_steps"] == 3


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        pytest.param(0.001, phases.FEWEST_STEPS, id="short window"),
        pytest.param(10.0, phases.QUICK_STEPS, id="long window"),
    ],
)
def test_a_short_window_has_fewer_samples(observe, monkeypatch, seconds, steps):
    monkeypatch.setattr(phases, "LONG_STEP", 10.0)
    observer, model = observe(), net()
    observer.register_model(model)
    observer._signals.phases._budget = seconds * phases.SHARE_OF_TIME
    train(observer, model, batches(phases.QUICK_STEPS + 4))
    assert len(observer._signals.phases._samples) == steps
    assert not observer._signals.phases._handles
