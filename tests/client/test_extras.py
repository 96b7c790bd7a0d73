"""What is collected on request: histograms and attention."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from observer_client import ObserverConfig
from observer_client.attention import head_entropies
from observer_client.record import HISTOGRAM_EDGES
from tests.client.conftest import batches, net
from tests.client.test_layers import health, train

pytestmark = pytest.mark.usefixtures("seeded")


def bins_of(*tensors):
    """Counts by hand."""
    counts = [0] * (len(HISTOGRAM_EDGES) + 1)
    for value in (abs(float(each)) for tensor in tensors for each in tensor.flatten()):
        counts[sum(value >= edge for edge in HISTOGRAM_EDGES)] += 1
    return counts


def test_gradient_histograms(observe):
    observer, model, expected = observe(layer_health_every=1, track_gradient_histogram=True), net(), []
    observer.register_model(model)
    found = train(
        observer,
        model,
        batches(1),
        each_step=lambda model: expected.append(bins_of(model[0].weight.grad, model[0].bias.grad)),
    )
    assert found["gradient_histograms"]["0"] == expected[0]
    assert sum(expected[0]) == 40


def test_activation_histograms(observe):
    model, data = net(), batches(1)
    with torch.no_grad():
        made = functional.relu(model[0](data[0][0]))
    found = health(observe, model, data, track_activation_histogram=True)
    assert found["activation_histograms"]["0"] == bins_of(made)


def test_no_histograms_unless_told(observe):
    assert not {"gradient_histograms", "activation_histograms"} & set(health(observe, net()))


class Attending(nn.Module):
    """One layer of attention over five positions, in one of the ways to write it."""

    def __init__(self, way="fused", *, sharp=1.0, causal=False):
        super().__init__()
        self.way, self.sharp, self.causal = way, sharp, causal
        self.inner = Inner(self)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.inner(x.repeat(1, 2)[:, None] * torch.linspace(-1, 1, 5)[:, None]).mean(1))


class Inner(nn.Module):
    def __init__(self, outer):
        super().__init__()
        self.way, self.sharp, self.causal = outer.way, outer.sharp, outer.causal
        self.qkv = nn.Linear(8, 24)
        self.whole = nn.MultiheadAttention(8, 2, batch_first=True) if outer.way == "whole" else None

    def forward(self, x):
        if self.whole is not None:
            return self.whole(x, x, x * 1.0, need_weights=False)[0]
        q, k, v = self.qkv(x).view(-1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        if self.way == "fused":
            made = functional.scaled_dot_product_attention(q * self.sharp, k, v, is_causal=self.causal)
        else:
            made = (q * self.sharp @ k.mT / 2).softmax(-1) @ v
        return made.transpose(1, 2).reshape(-1, 5, 8)


def attention(observe, model, **settings):
    found = health(observe, model, batches(2), track_attention_patterns=True, **settings)["layers"]
    name = "inner.whole" if model.way == "whole" else "inner"
    return tuple(found[name][f"attention_entropy{end}"] for end in ("_min", "", "_max"))


@pytest.mark.parametrize("way", ["fused", "whole", "written out"])
def test_attention_at_the_start_looks_at_all_keys(observe, way):
    low, mean, high = attention(observe, Attending(way))
    assert 0.8 < low <= mean <= high <= 1.0


@pytest.mark.parametrize("way", ["fused", "written out"])
def test_attention_that_looks_at_one_key(observe, way):
    assert attention(observe, Attending(way, sharp=1e4))[2] < 0.05


def test_causal_attention_is_measured_by_the_keys_it_may_see(observe):
    assert attention(observe, Attending(sharp=0.0, causal=True)) == pytest.approx((1.0, 1.0, 1.0), abs=1e-4)


def test_both_ways_give_the_same(observe):
    torch.manual_seed(1)
    fused = Attending()
    written = Attending("written out")
    written.load_state_dict(fused.state_dict())
    assert attention(observe, fused) == pytest.approx(attention(observe, written), rel=1e-4)


def test_entropy_of_two_heads():
    even, one = torch.full((1, 4), 0.25), torch.tensor([[1.0, 0, 0, 0]])
    assert head_entropies(torch.stack([even, one])[None]).tolist() == pytest.approx([1.0, 0.0])


def test_attention_leaves_the_training_alone(observe):
    def trained(**settings):
        torch.manual_seed(5)
        model = Attending("whole")
        health(observe, model, batches(4), **settings)
        return [*model.state_dict().values(), torch.rand(2)]

    assert all(map(torch.equal, trained(), trained(track_attention_patterns=True)))


def test_a_pass_that_fails_leaves_no_mode_behind(observe):
    model = Attending()
    observer = observe(layer_health_every=1, track_attention_patterns=True)
    observer.register_model(model)
    with pytest.raises(RuntimeError):
        model(torch.randn(3, 4, 7, 11))
    assert torch.overrides._get_current_function_mode() is None
    found = train(observer, model, batches(2))
    assert math.isfinite(found["layers"]["inner"]["attention_entropy"])


def test_attention_is_not_asked_for_unless_told(observe):
    assert "attention_entropy" not in health(observe, Attending(), batches(2))["layers"].get("inner", {})


@pytest.mark.parametrize(
    ("name", "on", "off"),
    [
        ("economy", set(), {"track_layer_health", "track_profiler", "track_attention_patterns"}),
        ("standard", {"track_layer_health", "track_profiler"}, {"track_attention_patterns"}),
        ("full", {"track_layer_health", "track_attention_patterns", "track_activation_histogram"}, set()),
    ],
)
def test_presets(name, on, off):
    config = ObserverConfig.preset(name, mode="offline")
    assert all(getattr(config, each) for each in on)
    assert not any(getattr(config, each) for each in off)


def test_settings_win_over_their_preset():
    assert ObserverConfig.preset("economy", track_layer_health=True).track_layer_health


def test_a_preset_that_is_none():
    with pytest.raises(ValueError, match="economy, standard, full, not 'max'"):
        ObserverConfig.preset("max")
