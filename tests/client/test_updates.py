"""Clipping and the gradient scaler."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tests.client.conftest import batches, net, records

LIMIT = 0.5


def step(observer, model, norm, number=0, **told):
    """A step whose gradient has this norm."""
    weight = model[0].weight
    weight.grad = torch.zeros_like(weight)
    weight.grad[0, 0] = norm
    found = observer.clip_grad_norm_(model.parameters(), LIMIT)
    observer.step(number, 1.0, **told)
    return found


def last(observer):
    observer.flush()
    return records(observer, "epoch")[-1]


def test_clipping_is_torch_s(observe):
    model = net()
    assert step(observe(), model, 2.0).item() == 2.0
    assert model[0].weight.grad.norm().item() == pytest.approx(LIMIT)


def test_clipping_is_recorded_with_its_step(observe):
    observer, model = observe(), net()
    for number, norm in enumerate((2.0, 0.25, 0.5, 1.0)):
        step(observer, model, norm, number)
    found = last(observer)
    assert found["gradients"] == {"norm_mean": 0.9375, "norm_max": 2.0, "clipped_share": 0.5}
    assert found["steps"]["grad_norm_max"] == [2.0, 0.25, 0.5, 1.0]


def test_a_step_without_clipping_between_others(observe):
    observer, model = observe(), net()
    step(observer, model, 2.0, 0)
    observer.step(1, 1.0)
    step(observer, model, 1.0, 2)
    found = last(observer)
    assert found["steps"]["grad_norm_max"] == [2.0, None, 1.0] and found["gradients"]["clipped_share"] == 1.0


def test_clipping_over_windows(observe):
    observer, model = observe(), net()
    for norm in (2.0, 0.25):
        step(observer, model, norm)
        assert last(observer)["gradients"]["clipped_share"] == float(norm > LIMIT)


def test_many_steps_are_collected_in_order(observe):
    observer, model = observe(steps_per_window=200), net()
    for number in range(600):
        step(observer, model, 1.0 if number < 300 else 0.25, number)
    found = last(observer)
    assert found["gradients"]["clipped_share"] == 0.5
    assert found["steps"]["grad_norm_max"] == [1.0] * 100 + [0.25] * 100


def test_what_step_is_told_wins(observe):
    observer, model = observe(), net()
    step(observer, model, 2.0, grad_norm=7.0, clipped=False)
    assert last(observer)["gradients"] == {"norm_mean": 7.0, "norm_max": 7.0, "clipped_share": 0.0}


def test_the_last_of_several_clippings_counts(observe):
    observer, model = observe(), net()
    observer.clip_grad_norm_(model.parameters(), LIMIT)
    step(observer, model, 2.0)
    assert last(observer)["gradients"]["norm_max"] == 2.0


def test_errors_of_clipping_are_the_user_s(observe):
    model = net()
    model[0].weight.grad = torch.full_like(model[0].weight, float("nan"))
    with pytest.raises(RuntimeError, match="non-finite"):
        observe().clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("off", [{"mode": "disabled"}, {}], ids=["disabled", "closed"])
def test_clipping_goes_on_without_recording(observe, off):
    observer, model = observe(**off), net()
    observer.close()
    assert step(observer, model, 2.0).item() == 2.0


def scaled_training(observer, model, scaler, factors):
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for (x, y), factor in zip(batches(len(factors)), factors, strict=True):
        scaler.scale(torch.nn.functional.cross_entropy(model(x), y) * factor).backward()
        scaler.step(sgd)
        scaler.update()
        sgd.zero_grad()
        observer.step(0, 1.0)


def test_thrown_away_steps_are_counted(observe):
    observer, model, scaler = observe(), net(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    observer.observe_scaler(scaler)
    scaled_training(observer, model, scaler, [1, float("inf"), 1, float("nan"), 1])
    assert last(observer)["loss_scale"] == {"scale": 256.0, "updates": 5, "skipped": 2}
    scaled_training(observer, model, scaler, [1])
    assert last(observer)["loss_scale"] == {"scale": 256.0, "updates": 1, "skipped": 0}


def test_the_scaler_of_a_model_is_found(observe):
    observer, model, other = observe(), net(), net()
    before = torch.amp.GradScaler.step
    observer.register_model(model)
    scaled_training(observer, other, torch.amp.GradScaler("cpu"), [1])
    assert "loss_scale" not in last(observer)
    scaled_training(observer, model, torch.amp.GradScaler("cpu", init_scale=1024.0), [1, float("inf")])
    assert last(observer)["loss_scale"] == {"scale": 512.0, "updates": 2, "skipped": 1}
    assert torch.amp.GradScaler.step is before


def test_nothing_is_searched_after_close(observe):
    before = torch.amp.GradScaler.step
    first, second = observe(), observe()
    for each in (first, second):
        each.register_model(net())
    first.close()
    assert torch.amp.GradScaler.step is not before
    second.close()
    assert torch.amp.GradScaler.step is before


def test_a_scaler_that_is_told_ends_the_search(observe):
    observer, model, told = observe(), net(), torch.amp.GradScaler("cpu", init_scale=8.0)
    observer.register_model(model)
    observer.observe_scaler(told)
    scaled_training(observer, model, torch.amp.GradScaler("cpu"), [1])
    assert "loss_scale" not in last(observer)
    scaled_training(observer, net(), told, [1])
    assert last(observer)["loss_scale"]["scale"] == 8.0


def test_a_scaler_that_is_off_tells_nothing(observe):
    observer, model, scaler = observe(), net(), torch.amp.GradScaler("cpu", enabled=False)
    observer.observe_scaler(scaler)
    scaled_training(observer, model, scaler, [1])
    assert "loss_scale" not in last(observer)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copied_scaler_is_not_watched(observe, copied):
    observer, scaler = observe(), torch.amp.GradScaler("cpu", init_scale=8.0)
    observer.observe_scaler(scaler)
    twin = copied(scaler)
    scaled_training(observer, net(), twin, [1, float("inf")])
    assert "loss_scale" not in last(observer) and twin.get_scale() == 4.0


def test_close_gives_the_scaler_back(observe):
    observer, scaler = observe(), torch.amp.GradScaler("cpu")
    before = dict(vars(scaler))
    observer.observe_scaler(scaler)
    observer.close()
    assert vars(scaler) == before


def test_what_is_no_scaler_is_said_and_survived(observe, forgiving, caplog):
    observe().observe_scaler(net())
    assert "observe_scaler takes a torch.amp.GradScaler" in caplog.text
