from __future__ import annotations

import pytest
import torch

from observer_client.layers import SHARE_OF_TIME, LayerWatch
from tests.client.conftest import batches, net


def watched(every):
    watch, model = LayerWatch(every), net()
    watch.watch(model)
    return watch, model, torch.optim.SGD(model.parameters(), lr=0.1)


def sampled_step(watch, model, sgd, now):
    model(batches(1)[0][0]).sum().backward()
    sgd.step()
    watch.left -= 1
    watch.turn(now)


@pytest.mark.parametrize(
    ("every", "spent", "pause"),
    [
        pytest.param(0, 0.0, 15, id="cheap"),
        pytest.param(0, 1.0, round(1.0 / SHARE_OF_TIME), id="as much as a whole step"),
        pytest.param(4, 1.0, 4, id="told"),
    ],
)
def test_costly_samples_are_rare(every, spent, pause):
    watch, model, sgd = watched(every)
    sampled_step(watch, model, sgd, 0.0)
    watch._spent = spent
    # Steps of a second each.
    watch._plan(watch._pause + spent, True)
    assert watch._sample_at - watch._here + 1 == pytest.approx(pause, abs=1)
    watch.close()


def test_a_step_that_is_not_sampled_does_nothing(monkeypatch):
    watch, model, sgd = watched(15)
    for now in range(2):
        sampled_step(watch, model, sgd, float(now))
    for name in ("_foreach_norm", "stack", "var_mean"):
        monkeypatch.setattr(torch, name, None)
    for _ in range(watch.left):
        torch.nn.functional.relu(model(batches(1)[0][0])).sum().backward()
        watch._before_step(sgd, (), {})
        watch._after_step(sgd, (), {})
    assert not any(module._forward_hooks for module in model)
    watch.close()


def test_nothing_is_read_back_before_the_flush(monkeypatch):
    """On a device each of these would wait for all that was queued."""
    watch, model, sgd = watched(1)

    def waits(*unused):
        raise AssertionError("a step waited for the device")

    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    for now in range(4):
        sampled_step(watch, model, sgd, float(now))
    monkeypatch.undo()
    assert watch.read().layers["0"].gradient_norm_mean > 0
    watch.close()
