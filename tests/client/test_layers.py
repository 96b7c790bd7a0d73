"""What is recorded of each layer, against figures worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import _global_optimizer_pre_hooks

from tests.client.conftest import batches, net, records

pytestmark = pytest.mark.usefixtures("seeded")


def train(observer, model, data, optimizers=None, each_step=None):
    """Train on ``data``, one window; return the layers' health as recorded."""
    optimizers = optimizers or [torch.optim.SGD(model.parameters(), lr=0.1)]
    model.train()
    for number, (x, y) in enumerate(data):
        loss = functional.cross_entropy(model(x).float(), y)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        if each_step is not None:
            each_step(model)
        for optimizer in optimizers:
            optimizer.zero_grad()
        observer.step(number, loss)
    observer.flush()
    return records(observer, "epoch")[-1]["layer_health"]


def health(observe, model, data=None, **settings):
    observer = observe(layer_health_every=settings.pop("layer_health_every", 1), **settings)
    observer.register_model(model)
    return train(observer, model, batches() if data is None else data)


def norm(*tensors):
    return math.sqrt(sum(float(each.detach().double().square().sum()) for each in tensors))


def test_gradient_norms_are_those_of_each_step(observe):
    observer, model, norms = observe(layer_health_every=1), net(), []
    observer.register_model(model)
    found = train(
        observer,
        model,
        batches(5),
        each_step=lambda model: norms.append(norm(model[0].weight.grad, model[0].bias.grad)),
    )
    layer = found["layers"]["0"]
    assert layer["gradient_norm_mean"] == pytest.approx(sum(norms) / 5, rel=1e-5)
    assert layer["gradient_norm_max"] == pytest.approx(max(norms), rel=1e-5)
    assert layer["gradient_norm_std"] == pytest.approx(torch.tensor(norms).std(correction=0).item(), rel=1e-3)
    assert layer["non_finite_gradients"] == 0


def test_weights_are_those_at_the_end(observe):
    model = net()
    with torch.no_grad():
        model[2].weight[:, :6] = 0
    layer = health(observe, model, batches(1))["layers"]["2"]
    assert layer["weight_norm"] == pytest.approx(norm(model[2].weight, model[2].bias), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "sparsity"),
    [
        pytest.param(lambda weight: weight, 0.0, id="as initialized"),
        pytest.param(lambda weight: weight * (torch.arange(8)[:, None] < 2), 0.75, id="pruned"),
        pytest.param(lambda weight: weight * 0, 1.0, id="all zero"),
        pytest.param(lambda weight: weight * 1e-3, 0.0, id="small, not zero"),
    ],
)
def test_near_zero_weights(observe, change, sparsity):
    model = net()
    model[0].weight.data = change(model[0].weight.data).requires_grad_(False)
    model[0].requires_grad_(False)
    assert health(observe, model, batches(1))["layers"]["0"]["weight_sparsity"] == pytest.approx(sparsity)


def test_update_over_weight(observe):
    model = net()
    before = [each.detach().clone() for each in model[0].parameters()]
    layer = health(observe, model, batches(1))["layers"]["0"]
    moved = norm(*(new.detach() - old for new, old in zip(model[0].parameters(), before, strict=True)))
    assert layer["update_ratio"] == pytest.approx(moved / norm(*before), rel=1e-4)


def test_outputs_after_the_activation(observe):
    model, data = net(inplace=True), batches(1)
    with torch.no_grad():
        made = functional.relu(model[0](data[0][0]))
    layer = health(observe, model, data)["layers"]["0"]
    assert layer["activation_mean"] == pytest.approx(made.mean().item(), rel=1e-5)
    assert layer["activation_variance"] == pytest.approx(made.var(correction=0).item(), rel=1e-5)
    assert layer["activation_var_of_means"] == pytest.approx(made.mean(1).var(correction=0).item(), rel=1e-5)
    assert layer["activation_zero_share"] == pytest.approx((made == 0).float().mean().item())
    assert layer["activation_dead_units"] == pytest.approx((made == 0).all(0).float().mean().item())


def test_units_of_an_image_are_its_channels(observe):
    conv = nn.Conv2d(1, 3, 3)
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([5.0, -100.0, 5.0]))
    model = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layer = health(observe, model, [(torch.rand(6, 1, 8, 8), torch.zeros(6).long())])["layers"]["0"]
    assert layer["activation_dead_units"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("activation", "scale", "expected"),
    [
        (nn.Tanh(), 1000.0, 1.0),
        (nn.Sigmoid(), 1000.0, 1.0),
        (nn.Tanh(), 0.1, 0.0),
        (nn.Sigmoid(), 0.1, 0.0),
        (nn.ReLU(), 1000.0, None),
    ],
    ids=["tanh", "sigmoid", "small tanh", "small sigmoid", "no bounds"],
)
def test_saturation(observe, activation, scale, expected):
    model = nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 3))
    model[0].weight.data *= scale
    layer = health(observe, model, batches(1))["layers"]["0"]
    assert layer.get("activation_saturation") == (None if expected is None else pytest.approx(expected, abs=0.05))


def test_output_change_between_samples(observe):
    model, data, made = net(), batches(2), []
    model[0].register_forward_hook(lambda module, inputs, output: made.append(output.detach().clone()))
    found = health(observe, nn.Sequential(model[0], nn.Identity(), model[2]), data)
    first, second = (each.mean(0) for each in made)
    assert found["layers"]["0"]["output_change"] == pytest.approx(norm(second - first) / norm(second), rel=1e-4)


def test_layers_that_say_the_same(observe):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 3))
    nn.init.eye_(model[1].weight), nn.init.zeros_(model[1].bias)
    found = {(each["layer_a"], each["layer_b"]): each["correlation"] for each in health(observe, model)["correlations"]}
    assert set(found) == {("0", "1"), ("1", "3")}
    assert found["0", "1"] == pytest.approx(1.0, abs=1e-4)
    assert abs(found["1", "3"]) < 0.95


def test_the_whole_gradient_s_norm(observe):
    observer, model, norms = observe(layer_health_every=2), net(), []
    observer.register_model(model)
    train(
        observer,
        model,
        batches(5),
        each_step=lambda model: norms.append(norm(*(each.grad for each in model.parameters()))),
    )
    epoch = records(observer, "epoch")[-1]
    assert epoch["steps"]["grad_norm_mean"] == [
        pytest.approx(value, rel=1e-5) if step % 2 == 0 else None for step, value in enumerate(norms)
    ]
    assert epoch["gradients"]["norm_max"] == pytest.approx(max(norms[::2]), rel=1e-5)


def test_a_norm_that_is_told_wins(observe):
    observer, model = observe(layer_health_every=1), net()
    observer.register_model(model)
    functional.cross_entropy(model(batches(1)[0][0]), batches(1)[0][1]).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    observer.step(0, 1.0, grad_norm=7.0)
    observer.flush()
    assert records(observer, "epoch")[-1]["gradients"]["norm_mean"] == 7.0


@pytest.mark.parametrize("off", [{"track_layer_health": False, "track_phases": False}, {"mode": "disabled"}], ids=str)
def test_not_when_switched_off(observe, off):
    observer, model = observe(**off), net()
    observer.register_model(model)
    model(batches(1)[0][0])
    assert not any(module._forward_hooks for module in model)
    assert not _global_optimizer_pre_hooks


def test_a_number_of_steps_below_zero_makes_no_sense(observe):
    with pytest.raises(ValueError, match="layer_health_every"):
        observe(layer_health_every=-1)


def test_one_step_in_so_many(observe):
    observer, model = observe(layer_health_every=3), net()
    observer.register_model(model)
    train(observer, model, batches(8))
    seen = [value is not None for value in records(observer, "epoch")[-1]["steps"]["grad_norm_mean"]]
    assert seen == [True, False, False] * 2 + [True, False]


def test_a_long_window_keeps_few_samples(observe, monkeypatch):
    monkeypatch.setattr("observer_client.layerstats.MOST", 4)
    observer, model = observe(layer_health_every=1), net()
    observer.register_model(model)
    data = batches(40)
    data[1] = (data[1][0] * 1e3, data[1][1])
    layer = train(observer, model, data, [torch.optim.SGD(model.parameters(), lr=0.0)])["layers"]["0"]
    assert layer["gradient_norm_max"] > 50 * layer["gradient_norm_mean"]
    seen = [value is not None for value in records(observer, "epoch")[-1]["steps"]["grad_norm_mean"]]
    assert 4 < sum(seen) < 20
