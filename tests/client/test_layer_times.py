from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.client.conftest import batches, net, records


def profile(observe, model, x, y, **settings):
    observer = observe(**settings)
    _, loss = observer.profile_step(model, x, y)
    observer.step(0, loss)
    observer.flush()
    return records(observer, "epoch")[-1]["profiler"]


def hooks(model):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())


def test_each_layer_has_its_time_forward_and_backward(observe):
    found = profile(observe, net(), *batches(1)[0])
    assert [each["name"] for each in found["per_layer"]] == ["0", "1", "2"]
    assert all(each["forward_ms"] > 0 and each["backward_ms"] > 0 for each in found["per_layer"])
    assert sum(each["pct_total"] for each in found["per_layer"]) <= 100.0 + 1e-6


def test_the_large_layer_takes_most(observe):
    model = nn.Sequential(nn.Linear(4, 1500), nn.Linear(1500, 1500), nn.Linear(1500, 3))
    x = torch.randn(256, 4)
    shares = {
        each["name"]: each["pct_total"] for each in profile(observe, model, x, torch.zeros(256).long())["per_layer"]
    }
    assert shares["1"] > 40 > shares["0"] + shares["2"]


def test_a_layer_in_a_layer_counts_once(observe):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return self.inner(x) * self.scale

    found = profile(observe, nn.Sequential(Scaled(), nn.Linear(4, 3)), *batches(1)[0])
    assert {each["name"] for each in found["per_layer"]} == {"0", "0.inner", "1"}
    assert sum(each["forward_ms"] for each in found["per_layer"]) <= found["forward_ms"]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_without_a_module_for_each_part(observe, kind):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = kind(4, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.cell(x)[0][:, -1])

    found = profile(observe, Recurrent(), torch.randn(6, 5, 4), torch.zeros(6).long())
    assert {each["name"]: each["backward_ms"] > 0 for each in found["per_layer"]} == {"cell": True, "head": True}


def test_hooks_leave_with_the_step(observe):
    model = net()
    profile(observe, model, *batches(1)[0], track_layer_health=False)
    assert hooks(model) == 0


def test_hooks_leave_when_the_model_raises(observe):
    observer, model = observe(), net()
    with pytest.raises(RuntimeError, match="shapes"):
        observer.profile_step(model, torch.randn(6, 5), batches(1)[0][1])
    assert hooks(model) == 0


def test_a_compiled_model_is_profiled_as_a_whole(observe):
    model = torch.compile(net(), backend="eager")
    found = profile(observe, model, *batches(1)[0])
    assert "per_layer" not in found
    assert found["fwd_bwd_ratio"] > 0


def test_not_when_switched_off(observe):
    observer, model = observe(track_profiler=False), net()
    observer.profile_step(model, *batches(1)[0])
    assert hooks(model) == 0
