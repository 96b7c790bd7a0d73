"""Gradients and updates of layers, each beside those of the others."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run, diagnose
from tests.engine.test_activations import DEAD
from tests.engine.test_layers import NAMES, WELL, health, told
from tests.engine.tools import BOTH, conv, found, held_back, linear, network


def grads(*norms):
    return [{"gradient_norm_mean": norm} for norm in norms]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param({"conv1": grads(1, 1, 1), "fc1": grads(5e4, 6e4, 7e4)}, id="far above the others"),
        pytest.param({"conv1": grads(0.1, 0.2, 0.1), "fc1": grads(0.2, 300, 4000)}, id="far above its start"),
    ],
)
def test_exploding_layer(layers, profile):
    run = health(tokens=grads(1, 1, 1), **layers)
    assert told("exploding-gradients", run, profile) == [("fc1", "warning")]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param({"conv1": WELL, "fc1": WELL}, id="well"),
        pytest.param({"conv1": grads(5e4, 5e4), "fc1": grads(6e4, 6e4)}, id="a sum over samples"),
        pytest.param({"conv1": grads(1e-4, 1e-4), "fc1": grads(0.5, 0.5)}, id="others are small"),
        pytest.param({"conv1": grads(0.0, 0.0), "fc1": grads(50.0, 50.0)}, id="others get none"),
        pytest.param({"conv1": grads(1, 1), "fc1": grads("inf", "nan")}, id="not finite"),
        pytest.param({"conv1": {}, "fc1": {}}, id="nothing logged"),
    ],
)
def test_no_layer_explodes(layers, profile):
    assert told("exploding-gradients", health(**layers), profile) == []


def test_one_window_is_no_explosion():
    run = health(conv1=grads(1, 1, 1, 1), fc1=grads(1, 9e4, 1, 1), tokens=grads(1, 1, 1, 1))
    assert told("exploding-gradients", run) == [] and told("exploding-gradients", run, "guide")
    assert "last" in held_back("exploding-gradients", run)[0]


def partly(trained, conv1, fc1):
    """Return a run whose layers hold 1000 parameters, of which so many are trained."""
    layers = network(conv("conv1", 500), linear("fc1", 500))
    for each in layers["layers"].values():
        each["trainable"] = True
    health = [{"conv1": a, "fc1": b} for a, b in zip(grads(*[conv1] * 3), grads(*[fc1] * 3), strict=True)]
    return Run.from_epochs(
        [{"layer_health": {"layers": each}} for each in health],
        architecture={**layers, "total_parameters": 1000, "trainable_parameters": trained},
    )


@pytest.mark.parametrize(
    ("run", "layers"),
    [
        pytest.param(partly(60, 0.2, 2e-9), [], id="biases, the signal passes"),
        pytest.param(partly(60, 0.2, 2e-6), [], id="biases, a little"),
        pytest.param(partly(60, 2e-9, 0.2), ["conv1"], id="biases, nothing arrives"),
        pytest.param(partly(1000, 0.2, 2e-9), ["fc1"], id="all weights"),
    ],
)
def test_layers_that_train_in_part(run, layers):
    assert [layer for layer, _ in told("vanishing-gradients", run)] == layers


def test_layer_far_behind_the_strongest_is_named():
    run = health(conv1=grads(2e-6, 2e-6, 2e-6), fc1=grads(0.4, 0.4, 0.4))
    assert told("vanishing-gradients", run) == [("conv1", "warning")]
    assert told("vanishing-gradients", run, "guide") == []


@pytest.mark.parametrize(
    "conv1",
    [
        pytest.param(grads(2e-5, 2e-5, 2e-5), id="small"),
        pytest.param(grads(2e-6, 0.1, 0.1), id="at the start only"),
        pytest.param([{"gradient_norm_mean": 2e-6, "trainable": False}] * 3, id="frozen"),
        pytest.param([{}] * 3, id="nothing logged"),
    ],
)
def test_layer_is_not_far_behind(conv1):
    assert told("vanishing-gradients", health(conv1=conv1, fc1=grads(0.4, 0.4, 0.4))) == []


def test_converged_network_has_no_layer_far_behind():
    run = health(conv1=grads(2e-6, 2e-6, 2e-6), fc1=grads(1e-4, 1e-4, 1e-4))
    assert told("vanishing-gradients", run) == []


@pytest.mark.parametrize(
    ("activation", "stats", "words"),
    [
        pytest.param("ReLU", DEAD, "dead", id="dead units"),
        pytest.param("ReLU", {}, "rule for their activation", id="no squashing activation"),
        pytest.param("Sigmoid", {}, "sigmoid and tanh", id="sigmoid"),
    ],
)
def test_advice_fits_the_layer(activation, stats, words):
    layers = network(conv("conv1"), ("act", activation, 0, {"category": "activation"}), linear("fc1"))
    sick = {"layers": {"conv1": {"gradient_norm_mean": 0.0, **stats}, "fc1": {"gradient_norm_mean": 1.0}}}
    run = Run.from_epochs([{"layer_health": sick}] * 3, architecture=layers)
    (issue,) = found("vanishing-gradients", run)
    assert words in issue.suggestion


def test_dead_layer_explains_the_missing_gradient():
    report = diagnose(health(conv1=[{**DEAD, "gradient_norm_mean": 0.0}] * 3, fc1=grads(1, 1, 1)))
    told = {issue.check_id: issue.caused_by for issue in report.issues}
    assert told["dead-relu"] is None and told["vanishing-gradients"] == "dead-relu"


def updates(*ratios, losses=None, name="fc1"):
    return Run.from_epochs(
        [
            {
                "loss": {"train_mean": loss, "val": {"val_acc": 0.1}},
                "layer_health": {"layers": {name: {"update_ratio": ratio}}},
            }
            for ratio, loss in zip(ratios, losses or [2.3] * len(ratios), strict=True)
        ],
        architecture=NAMES,
    )


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("ratio", [2e-6, 0.4])
def test_updates_out_of_range(ratio, profile):
    (issue,) = found("update-ratio", updates(*[ratio] * 4), profile)
    assert issue.metric_value == pytest.approx(ratio) and issue.layer_id is None


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "ratios",
    [
        pytest.param([1e-3] * 4, id="usual"),
        pytest.param([5e-5, 2e-3, 1e-3, 1e-7], id="decayed at the end"),
        pytest.param([1.0, 0.05, 0.01, 0.01], id="from zero"),
        pytest.param([0.0] * 4, id="no update"),
        pytest.param([None] * 4, id="nothing logged"),
        pytest.param(["nan", "inf", "nan", "nan"], id="not finite"),
    ],
)
def test_updates_in_range(ratios, profile):
    assert found("update-ratio", updates(*ratios), profile) == []


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        pytest.param(updates(*[2e-6] * 5, losses=[2.3, 1.9, 1.5, 1.2, 1.0]), "falls", id="it learns"),
        pytest.param(updates(*[2e-6] * 3, losses=[0.1] * 3), "trained model", id="fine-tuning"),
        pytest.param(updates(0.4, 0.4, 0.4, 0.01), "smaller", id="calmed down"),
    ],
)
def test_update_size_is_held_back(run, reason):
    assert found("update-ratio", run) == [] and reason in held_back("update-ratio", run)[0]


def test_normalization_layers_do_not_count():
    layers = network(("norm1", "LayerNorm", 10, {"category": "normalization"}), linear("fc1"))
    epochs = [{"layer_health": {"layers": {"norm1": {"update_ratio": 1e-7}, "fc1": {"update_ratio": 1e-3}}}}] * 3
    assert found("update-ratio", Run.from_epochs(epochs, architecture=layers), "guide") == []


@pytest.mark.parametrize(
    ("norms", "fires"),
    [([4.6, 1.0, 1e-2, 1e-3], True), ([4.6, 4.0, 3.0, 2.0], False), ([4.6, 1e-3, 4.0, 4.0], False), ([0.0] * 4, False)],
    ids=["shrunk", "decayed", "for one window", "zero from the start"],
)
def test_weights_that_shrank_to_nothing(norms, fires):
    windows = [{"weight_norm": norm, "weight_sparsity": 0.0, "gradient_norm_mean": 1.0} for norm in norms]
    issues = found("dead-neurons", health(conv1=WELL, fc1=windows))
    assert [issue.layer_id for issue in issues] == ["fc1"] * fires
    assert all("weight decay" in issue.suggestion for issue in issues)
