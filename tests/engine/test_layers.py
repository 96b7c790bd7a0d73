"""Health of single layers."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, conv, found, held_back, linear, network

WELL = {"gradient_norm_mean": 0.5, "weight_sparsity": 0.01, "output_change": 0.3, "activation_variance": 0.4}
NAMES = network(conv("conv1"), linear("fc1"), ("tokens", "Embedding", 100, {"category": "embedding"}))


def health(**layers):
    """Return a run in which each layer has one or several windows of statistics."""
    length = max(len(windows) if isinstance(windows, list) else 1 for windows in layers.values())
    rows = {name: windows if isinstance(windows, list) else [windows] * length for name, windows in layers.items()}
    epochs = [
        {"epoch": epoch, "layer_health": {"layers": {name: rows[name][epoch] for name in rows}}}
        for epoch in range(length)
    ]
    return Run.from_epochs(epochs, architecture=NAMES)


def told(check_id, run, profile="robust"):
    return [(issue.layer_id, str(issue.severity)) for issue in found(check_id, run, profile)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "stats", "severity"),
    [
        pytest.param("dead-neurons", {"weight_sparsity": 0.6}, "warning", id="sparse"),
        pytest.param("dead-neurons", {"weight_sparsity": 0.95, "output_change": 0.0}, "critical", id="dead"),
        pytest.param("dead-neurons", {"weight_sparsity": 0.99, "is_dead": True}, "critical", id="said to be dead"),
        pytest.param("vanishing-gradients", {"gradient_norm_mean": 2.5e-8}, "warning", id="vanishing"),
        pytest.param("vanishing-gradients", {"gradient_norm_mean": 0.0}, "warning", id="no gradient at all"),
        pytest.param("vanishing-gradients", {"has_vanishing_gradients": True}, "warning", id="said to vanish"),
        pytest.param("frozen-output", {"output_change": 0.0}, "warning", id="constant"),
        pytest.param("frozen-output", {"has_frozen_output": True}, "warning", id="said to be constant"),
        pytest.param(
            "activation-collapse", {"activation_variance": 1e-9, "activation_mean": 0.5}, "warning", id="collapsed"
        ),
        pytest.param("activation-collapse", {"activation_variance": 0.0}, "warning", id="no variance at all"),
    ],
)
def test_sick_layer(check_id, stats, severity, profile):
    assert told(check_id, health(conv1=WELL, fc1=[stats] * 3), profile) == [("fc1", severity)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("check_id", ["dead-neurons", "vanishing-gradients", "frozen-output", "activation-collapse"])
@pytest.mark.parametrize(
    "stats",
    [
        pytest.param(WELL, id="well"),
        pytest.param({}, id="nothing logged"),
        pytest.param(dict.fromkeys(WELL, "nan"), id="nan"),
        pytest.param({"is_dead": False, "has_frozen_output": False, "has_vanishing_gradients": False}, id="no flag"),
        pytest.param({"weight_sparsity": 0.5, "gradient_norm_mean": 1e-5}, id="small"),
    ],
)
def test_well_layer(check_id, stats, profile):
    assert told(check_id, health(conv1=WELL, fc1=[stats] * 3), profile) == []


def test_gradient_at_the_limit_has_not_vanished_by_the_guide():
    assert told("vanishing-gradients", health(conv1=WELL, fc1=[{"gradient_norm_mean": 1e-7}] * 3), "guide") == []


@pytest.mark.parametrize(
    ("check_id", "layers", "reason"),
    [
        pytest.param(
            "dead-neurons", {"fc1": {"weight_sparsity": 0.9, "gradient_norm_mean": 0.1}}, "pruned", id="pruned"
        ),
        pytest.param("dead-neurons", {"tokens": {"weight_sparsity": 0.9}}, "embedding", id="embedding"),
        pytest.param("dead-neurons", {"fc1": {"weight_sparsity": 1.0, "trainable": False}}, "frozen", id="frozen"),
        pytest.param("dead-neurons", {"fc1": [{"weight_sparsity": 0.6}, WELL, WELL]}, "last", id="only at the start"),
        pytest.param(
            "vanishing-gradients", {"fc1": {"gradient_norm_mean": 0.0, "trainable": False}}, "frozen", id="not trained"
        ),
        pytest.param("vanishing-gradients", {"fc1": [{"gradient_norm_mean": 0.0}, WELL, WELL]}, "last", id="one step"),
        pytest.param(
            "vanishing-gradients",
            {"conv1": {"gradient_norm_mean": 5e-7}, "fc1": {"gradient_norm_mean": 5e-8}},
            "converged",
            id="converged",
        ),
        pytest.param("frozen-output", {"tokens": {"output_change": 0.0}}, "positions", id="positions"),
        pytest.param("frozen-output", {"fc1": [{"output_change": 0.0}, WELL, WELL]}, "last", id="for one window"),
        pytest.param(
            "activation-collapse",
            {"fc1": {"activation_variance": 5e-7, "activation_mean": 1e-4}},
            "small",
            id="small outputs",
        ),
    ],
)
def test_is_held_back(check_id, layers, reason):
    run = health(**({"conv1": WELL} | layers))
    assert told(check_id, run) == [] and told(check_id, run, "guide")
    assert reason in held_back(check_id, run)[0]


def test_dead_layer_is_called_as_the_guide_calls_it():
    (issue,) = found("dead-neurons", health(fc1={"weight_sparsity": 0.6}))
    assert issue.title == "Dead layer" and issue.layer_id == "fc1"


def test_vanishing_gradient_says_where_and_how_small():
    (issue,) = found("vanishing-gradients", health(conv1=[{"gradient_norm_mean": 2.5e-8}] * 3, fc1=WELL))
    assert "'conv1'" in issue.description and "2.5e-08" in issue.description and issue.evidence["epochs"] == [0, 1, 2]


NORMALIZED = network(linear("fc1"), ("norm1", "LayerNorm", 10, {"category": "normalization"}))
TRANSFORMER = {"model_class": "TransformerLm", "layers": {"attn": {"type": "Attention"}}}


def correlated(values, first="conv1", second="fc1", architecture=NAMES):
    pairs = [[{"layer_a": first, "layer_b": second, "correlation": value}] for value in values]
    return Run.from_epochs([{"layer_health": {"correlations": pair}} for pair in pairs], architecture=architecture)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("values", "count"), [([0.97], 1), ([0.96, 0.98], 1), ([0.95], 0), ([0.5, 0.99], 0), ([], 0)])
def test_redundant_layers(values, count, profile):
    assert len(found("redundant-layers", correlated(values), profile)) == count


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        pytest.param(correlated([0.99], "fc1", "norm1", NORMALIZED), "by design", id="normalization"),
        pytest.param(correlated([0.999, 0.94]), "come apart", id="no longer"),
        pytest.param(
            correlated(
                [0.99], architecture={"model_class": "TransformerLm", "layers": {"attn": {"type": "Attention"}}}
            ),
            "transformer",
            id="residual stream",
        ),
    ],
)
def test_redundancy_by_design_is_held_back(run, reason):
    assert found("redundant-layers", run) == [] and reason in held_back("redundant-layers", run)[0]
