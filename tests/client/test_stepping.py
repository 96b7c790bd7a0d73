from __future__ import annotations

import copy
import gc
import inspect
import pickle
import threading
import weakref

import pytest
import torch
from torch.nn import functional
from torch.optim import optimizer as optimizers

from observer_client import Observer, ObserverConfig
from tests.client.conftest import batches, net, records

STEPS = 40


def trained(observer, steps=STEPS, model=None, **settings):
    """Train a little net with an Adam whose hooks are anybody's."""
    model = model or net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    observer.register_model(model, optimizer)
    for step, (x, y) in enumerate(batches(steps)):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        observer.step(step, loss, batch_size=len(x), **settings)
    return model, optimizer


def hung():
    return len(optimizers._global_optimizer_pre_hooks), len(optimizers._global_optimizer_post_hooks)


def test_between_samples_no_optimizer_calls_us(observe):
    before = hung()
    trained(observe(layer_health_every=10**6, track_phases=False))
    assert hung() == before


def test_where_every_step_is_sampled_hooks_stay(observe):
    before = hung()
    trained(observe(layer_health_every=1, track_phases=False))
    assert hung() == (before[0] + 1, before[1] + 1)


def test_no_parameter_keeps_an_empty_table_of_hooks(observe):
    model, _ = trained(observe(layer_health_every=10**6))
    assert [each._backward_hooks for each in model.parameters()] == [None] * 4


def test_a_table_that_another_thread_goes_through_stays(observe):
    """To take it away there would take it from under the engine."""
    inside, go_on = threading.Event(), threading.Event()
    observer, model = observe(), net()
    observer.register_model(model)
    loss = model(torch.ones(2, 4)).sum()
    loss.register_hook(lambda *unused: inside.set() or go_on.wait(20) and None)
    thread = threading.Thread(target=loss.backward)
    thread.start()
    inside.wait(20)
    before = [each._backward_hooks for each in model.parameters()]
    observer.flush()
    after = [each._backward_hooks for each in model.parameters()]
    go_on.set()
    thread.join()
    assert any(before) and all(old is new for old, new in zip(before, after, strict=True))


def test_a_table_of_somebody_else_s_hooks_stays(observe):
    model, seen = net(), []
    for each in model.parameters():
        each.register_hook(seen.append)
    trained(observe(layer_health_every=10**6), model=model)
    assert len(seen) == STEPS * 4


@pytest.mark.parametrize("every", [0, 1, 3])
def test_a_step_told_from_a_hook_of_the_optimizer(observe, every):
    """PyTorch goes through all hooks meanwhile: to add one, or to take one away, would end the training."""
    observer, model = observe(layer_health_every=every), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer.register_model(model)
    told = optimizers.register_optimizer_step_post_hook(lambda *unused: observer.step(loss=1.0))
    for x, y in batches(STEPS):
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    told.remove()
    observer.flush()
    (epoch,) = records(observer, "epoch")
    assert (epoch["loss"]["n_batches"], epoch["layer_health"]["layers"]["0"]["gradient_norm_mean"] > 0) == (STEPS, True)


def test_outputs_change_from_sample_to_sample_where_hooks_stay(observe):
    observer = observe(layer_health_every=1)
    trained(observer)
    observer.flush()
    layers = records(observer, "epoch")[0]["layer_health"]["layers"]
    assert all(layers[name]["output_change"] > 0 for name in ("0", "2"))


def test_hooks_that_stay_leave_at_the_end(observe):
    observer = observe(layer_health_every=1)
    model, _ = trained(observer)
    observer.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_rate_of_groups_that_a_checkpoint_brought(observe):
    observer = observe(track_layer_health=False)
    _, optimizer = trained(observer)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(state)
    observer.flush()
    assert records(observer, "epoch")[0]["learning_rate"] == 0.5


def test_an_optimizer_with_a_scheduler_is_not_kept(observe):
    observer = observe(track_layer_health=False)
    optimizer = torch.optim.Adam(net().parameters())
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    observer._use_optimizer(optimizer)
    observer.step(0, 1.0)
    gone = weakref.ref(optimizer)
    del optimizer, scheduler
    gc.collect()
    assert gone() is None


def test_a_dropped_observer_ends_at_once():
    """What `step` holds must not hold the Observer."""
    observer = Observer(config=ObserverConfig(mode="offline", quiet=True))
    observer.step(0, 1.0)
    gone = weakref.ref(observer)
    gc.disable()
    try:
        del observer
        assert gone() is None
    finally:
        gc.enable()


def test_steps_of_a_closed_observer_are_not_kept(observe):
    observer = observe()
    observer.step(0, 1.0)
    observer.close()
    for step in range(1_000):
        observer.step(step, 1.0)
    assert len(observer._steps.fresh) == 0


def test_figures_that_are_told_in_some_steps(observe):
    observer = observe()
    observer.step(0, 1.0)
    observer.step(1, 2.0, grad_norm=3.0, lr=0.5, clipped=True)
    observer.step(2, 3.0, batch_size=4)
    observer.flush()
    (epoch,) = records(observer, "epoch")
    assert (epoch["loss"]["n_batches"], epoch["gradients"]["norm_max"], epoch["steps"]["learning_rate"]) == (
        3,
        3.0,
        [None, 0.5, 0.5],
    )


def test_a_name_that_no_step_records(observe, forgiving, caplog):
    observer = observe()
    observer.step(0, 1.0, accuracy=0.5)
    observer.flush()
    assert records(observer, "epoch")[0]["loss"]["n_batches"] == 1
    assert "step records no accuracy" in caplog.text


def test_threads_that_tell_more_than_the_loss(observe):
    observer = observe()
    threads = [
        threading.Thread(target=lambda: [observer.step(loss=1.0, grad_norm=1.0) for _ in range(500)]) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    observer.flush()
    assert records(observer, "epoch")[0]["loss"]["n_batches"] == 2_000


def test_the_step_of_an_instance_is_documented(observe):
    assert observe().step.__doc__ == Observer.step.__doc__


@pytest.fixture
def stepping():
    """A thread whose optimizer is in the midst of its hooks until the test calls this, which returns its errors."""
    inside, go_on, failed = threading.Event(), threading.Event(), []
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])

    def wait(each, *unused):
        if each is optimizer:
            inside.set()
            go_on.wait(20)

    def step():
        try:
            optimizer.step()
        except RuntimeError as error:
            failed.append(error)

    def finish():
        go_on.set()
        thread.join()
        return failed

    hooks = [optimizers.register_optimizer_step_pre_hook(each) for each in (wait, lambda *unused: None)]
    thread = threading.Thread(target=step)
    thread.start()
    inside.wait(20)
    yield finish
    finish()
    for each in hooks:
        each.remove()


def test_an_optimizer_in_another_thread_steps_on(observe, stepping):
    """PyTorch raises there when hooks come or go meanwhile."""
    observer = observe(layer_health_every=3)
    trained(observer)
    observer.flush()
    observer.close()
    assert stepping() == []


def test_a_run_collected_in_a_hook_of_an_optimizer(observe):
    """The collector may come at any time."""
    before = hung()
    abandoned = [Observer(config=ObserverConfig(mode="offline", quiet=True))]
    trained(abandoned[0], 1)
    told = optimizers.register_optimizer_step_pre_hook(lambda *unused: abandoned.clear())
    trained(observe(layer_health_every=10**6, track_phases=False))
    told.remove()
    assert hung() == before


def test_a_step_that_is_pickled_with_its_holder_is_silent(observe):
    observer = observe()
    pickle.loads(pickle.dumps(observer.step))(0, loss=1.0, batch_size=4)
    assert observer._steps.here == 0


def test_the_step_of_an_instance_has_its_parameters(observe):
    assert list(inspect.signature(observe().step).parameters)[:3] == ["step", "loss", "batch_size"]


def test_a_step_that_somebody_replaced_is_called(observe, monkeypatch):
    seen = []
    monkeypatch.setattr(Observer, "step", lambda self, *unused, **more: seen.append(more))
    observe().step(loss=1.0)
    assert seen == [{"loss": 1.0}]


def test_a_disabled_observer_does_not_look_at_the_loss(observe):
    observe(mode="disabled").step(0, object(), 4, grad_norm="?", nonsense=True)
