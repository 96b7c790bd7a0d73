"""Layers that do not train."""

from __future__ import annotations

import pytest

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
