"""Faults that the layers show, each beside a healthy relative in which nothing is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.client.test_layers import batches, health

pytestmark = pytest.mark.usefixtures("seeded")

FLAGS = ("has_vanishing_gradients", "is_dead", "has_frozen_output", "has_low_activation_variance")


def flagged(found):
    return {(name, flag) for name, layer in found["layers"].items() for flag in FLAGS if layer.get(flag)}


def stack(depth, activation, width=16):
    torch.manual_seed(0)
    hidden = [part for _ in range(depth) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(nn.Linear(4, width), activation(), *hidden, nn.Linear(width, 3))


def well_begun(model):
    for module in model[::2]:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def zero_head(model):
    nn.init.zeros_(model[-1].weight)
    return model


def dead(model):
    """The first layer's activation gives zeros, whatever comes."""
    model[0].bias.data.fill_(-100.0)
    return model


def constant(model):
    """The first layer's weights are zero, and stay."""
    model[0].weight.data.zero_()
    model[0].requires_grad_(False)
    return model


def collapsed(model):
    """What the first layer gives differs between samples by a ten-thousandth."""
    model[0].weight.data *= 1e-4
    model[0].bias.data.fill_(10.0)
    return model


@pytest.mark.parametrize("depth", [12, 20])
def test_gradients_vanish_in_sigmoids(observe, depth):
    found = health(observe, stack(depth, nn.Sigmoid), batches(20))
    assert ("0", "has_vanishing_gradients") in flagged(found)
    assert not found["layers"][str(2 * depth + 2)]["has_vanishing_gradients"]


def test_the_output_of_a_dead_layer_is_frozen(observe):
    found = health(observe, dead(stack(1, nn.ReLU)))
    assert ("0", "has_frozen_output") in flagged(found)
    assert found["layers"]["0"]["activation_dead_units"] == 1.0
    # It is not dead in the guide's sense: the weights are there.
    assert not found["layers"]["0"]["is_dead"]


def test_only_the_first_layer_with_a_frozen_output_is_named(observe):
    named = {name for name, flag in flagged(health(observe, dead(stack(3, nn.ReLU)))) if flag == "has_frozen_output"}
    assert named == {"0"}


def test_a_layer_without_weights_is_dead(observe):
    found = health(observe, constant(stack(1, nn.Tanh)))
    assert flagged(found) == {("0", flag) for flag in FLAGS[1:]}
    assert found["layers"]["0"]["weight_sparsity"] == 1.0


def test_outputs_collapse(observe):
    assert flagged(health(observe, collapsed(stack(1, nn.ReLU)))) == {("0", "has_low_activation_variance")}


def test_a_frozen_layer_is_told_and_is_healthy(observe):
    model = stack(2, nn.ReLU)
    model[0].requires_grad_(False)
    found = health(observe, model)
    assert [layer["trainable"] for layer in found["layers"].values()] == [False, True, True, True]
    assert "gradient_norm_mean" not in found["layers"]["0"]
    assert found["layers"]["0"]["weight_norm"] > 0
    assert flagged(found) == set()


class Positions(nn.Module):
    """A table of positions gives every sample of a batch the same, and should."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.head = nn.Embedding(10, 8), nn.Embedding(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        places = torch.arange(x.shape[1]).expand(x.shape[0], -1)
        return self.head((self.words(x) + self.places(places)).mean(1))


@pytest.mark.parametrize(
    ("model", "data"),
    [
        pytest.param(stack(3, nn.ReLU), None, id="relu"),
        pytest.param(stack(2, nn.Sigmoid), None, id="few sigmoids"),
        pytest.param(well_begun(stack(12, nn.ReLU, 64)), None, id="twelve relus"),
        pytest.param(zero_head(stack(1, nn.ReLU)), None, id="a head that begins at zero"),
        pytest.param(zero_head(stack(1, nn.ReLU)), batches(1), id="a head that begins at zero, one step"),
        pytest.param(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)),
            [(torch.randn(6, 1, 8, 8), torch.arange(6) % 3)] * 3,
            id="convolution",
        ),
        pytest.param(Positions(), [(torch.randint(0, 10, (6, 5)), torch.arange(6) % 3)] * 3, id="positions"),
        pytest.param(stack(1, nn.ReLU), [(torch.randn(1, 4), torch.tensor([1]))] * 3, id="batches of one"),
        pytest.param(stack(1, nn.ReLU), [(torch.ones(6, 4), torch.arange(6) % 3)] * 3, id="the same sample"),
    ],
)
def test_nothing_is_said_of_healthy_layers(observe, model, data):
    assert flagged(health(observe, model, data)) == set()


def test_no_gradients_left_anywhere_is_no_fault_of_a_layer(observe):
    model = stack(1, nn.ReLU)
    model[4].weight.data.zero_()
    model[4].bias.data.copy_(torch.tensor([200.0, 0.0, 0.0]))
    found = health(observe, model, [(torch.randn(6, 4), torch.zeros(6).long())] * 2)
    assert [layer["has_vanishing_gradients"] for layer in found["layers"].values()] == [False] * 3
