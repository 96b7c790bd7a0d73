"""Layers that do not train."""

from __future__ import annotations

import pytest
import torch

from diagnostics.engine import Run
from tests.engine.tools import BOTH, conv, found, held_back, linear, network, run_with


def frozen(*names, layers=("conv1", "conv2", "fc"), model="Net", **hyperparameters):
    architecture = network(*(linear(name) if name.startswith("fc") else conv(name) for name in layers))
    for name, info in architecture["layers"].items():
        info["trainable"] = name not in names
    return run_with(architecture=architecture | {"model_class": model}, hyperparameters=hyperparameters)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("run", "layer", "severity"),
    [
        pytest.param(frozen("conv1"), "conv1", "info", id="first layer"),
        pytest.param(frozen("conv1", "conv2"), "conv1", "info", id="all but the head"),
        pytest.param(frozen("conv2"), "conv2", "warning", id="between layers that train"),
        pytest.param(frozen("fc"), "fc", "warning", id="head"),
        pytest.param(frozen("conv1", learning_rate=0.1, optimizer="Adam"), "conv1", "info", id="nothing told"),
        pytest.param(frozen("conv2", pretrained=False), "conv2", "warning", id="not pre-trained"),
    ],
)
def test_unintended_freeze(run, layer, severity, profile):
    issues = found("unintended-freeze", run, profile)
    assert [(issue.layer_id, str(issue.severity)) for issue in issues] == [(layer, severity)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(frozen(), id="everything trains"),
        pytest.param(frozen("conv1", "conv2", "fc"), id="nothing trains"),
        pytest.param(run_with(architecture=network(conv("conv1"))), id="nobody says"),
        pytest.param(
            run_with(architecture={"layers": {"relu": {"type": "ReLU", "trainable": False}}}), id="no weights"
        ),
    ],
)
def test_no_freeze(run, profile):
    assert found("unintended-freeze", run, profile) == []


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(frozen("conv1", pretrained=True), id="pre-trained"),
        pytest.param(frozen("conv1", weights="finetune"), id="fine-tuning"),
        pytest.param(frozen("conv2", peft="lora", rank=4), id="adapters told"),
        pytest.param(frozen("conv1", model="PeftModelForCausalLM"), id="adapters of a library"),
        pytest.param(frozen("conv1", layers=("conv1", "conv1.lora_A", "fc")), id="adapters by name"),
        pytest.param(frozen("conv1", mode="linear probe"), id="linear probe"),
    ],
)
def test_freeze_on_purpose_is_held_back(run):
    assert found("unintended-freeze", run) == [] and "meant" in held_back("unintended-freeze", run)[0]


def test_freeze_that_is_told_is_information():
    assert found("unintended-freeze", frozen("fc", frozen_layers=["fc"]))[0].severity == "info"


def with_norms(factor, parameters=4160, **hyperparameters):
    """Return a run with a frozen first layer of 64 inputs whose norm is ``factor`` times that of PyTorch's default."""
    layers = network(linear("fc1", parameters, in_features=64, out_features=64), linear("fc2", 650, in_features=64))
    layers["layers"]["fc1"]["trainable"], layers["layers"]["fc2"]["trainable"] = False, True
    norm = factor * (parameters / (3 * 64)) ** 0.5
    epochs = [{"layer_health": {"layers": {"fc1": {"weight_norm": norm}}}}]
    return Run.from_epochs(epochs, architecture=layers, hyperparameters=hyperparameters)


@pytest.mark.parametrize(
    ("run", "severities"),
    [
        pytest.param(with_norms(1.005), ["warning"], id="random weights"),
        pytest.param(with_norms(1.9), ["info"], id="trained weights"),
        pytest.param(with_norms(1.0, parameters=300), ["info"], id="too few to tell"),
        pytest.param(with_norms(1.0, pretrained=True), [], id="said to be meant"),
        pytest.param(with_norms(1.0, frozen="fc1"), ["info"], id="said to be frozen"),
    ],
)
def test_frozen_random_weights_are_a_warning(run, severities):
    assert [str(issue.severity) for issue in found("unintended-freeze", run)] == severities


def test_random_weights_are_known_as_torch_makes_them():
    layer = torch.nn.Linear(64, 64)
    norm = sum(float(weight.detach().square().sum()) for weight in layer.parameters()) ** 0.5
    assert found("unintended-freeze", with_norms(norm / (4160 / 192) ** 0.5))[0].severity == "warning"
