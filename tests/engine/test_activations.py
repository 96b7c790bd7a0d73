"""Units that are dead, activations that are saturated, outputs out of proportion."""

from __future__ import annotations

import pytest

from tests.engine.test_layers import NAMES, WELL, health, told
from tests.engine.tools import BOTH, found, held_back

DEAD = {"activation_dead_units": 0.97}
SUNK = {"activation_mean": -9.9, "activation_variance": 0.95, "gradient_norm_mean": 0.0}
SATURATED = {"activation_saturation": 0.98}
LARGE = {"activation_mean": 0.0, "activation_variance": 1e9}
USUAL = {"activation_mean": 0.1, "activation_variance": 1.0}


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "stats", "severity"),
    [
        pytest.param("dead-relu", DEAD, "warning", id="all units dead"),
        pytest.param("dead-relu", SUNK, "warning", id="far below zero, no gradient"),
        pytest.param("saturated-activation", SATURATED, "warning", id="saturated"),
        pytest.param("activation-outliers", LARGE, "info", id="outlying"),
    ],
)
def test_sick_layer(check_id, stats, severity, profile):
    run = health(conv1=[stats] * 3, fc1=USUAL, tokens=USUAL)
    assert told(check_id, run, profile) == [("conv1", severity)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("check_id", ["dead-relu", "saturated-activation", "activation-outliers"])
@pytest.mark.parametrize(
    "stats",
    [
        pytest.param(WELL, id="well"),
        pytest.param({}, id="nothing logged"),
        pytest.param({"activation_dead_units": 0.34, "activation_zero_share": 0.9}, id="sparse, not dead"),
        pytest.param({**SUNK, "gradient_norm_mean": 0.1}, id="below zero with a gradient"),
        pytest.param({**SUNK, "activation_mean": -1.0}, id="partly below zero without a gradient"),
        pytest.param({"activation_saturation": 0.4}, id="partly saturated"),
        pytest.param({"activation_variance": 9000.0}, id="large, yet below the limit"),
        pytest.param(dict.fromkeys((*DEAD, *SUNK, *SATURATED), "nan"), id="nan"),
    ],
)
def test_well_layer(check_id, stats, profile):
    assert told(check_id, health(conv1=[stats] * 3, fc1=USUAL, tokens=USUAL), profile) == []


@pytest.mark.parametrize(
    ("check_id", "layers", "reason"),
    [
        pytest.param("dead-relu", {"conv1": [DEAD, {"activation_dead_units": 0.1}] * 2}, "last", id="came back"),
        pytest.param("dead-relu", {"conv1": {"activation_dead_units": 0.6}}, "still works", id="half of the units"),
        pytest.param("saturated-activation", {"conv1": {"activation_saturation": 0.6}}, "slope", id="partly"),
        pytest.param("saturated-activation", {"fc1": SATURATED}, "own output", id="output of a classifier"),
        pytest.param(
            "saturated-activation", {"conv1": [SATURATED, {"activation_saturation": 0.0}]}, "last", id="at the start"
        ),
        pytest.param("activation-outliers", {"fc1": LARGE}, "own output", id="output of a regression"),
        pytest.param("activation-outliers", {"conv1": [LARGE, USUAL]}, "last", id="for one window"),
    ],
)
def test_is_held_back(check_id, layers, reason):
    run = health(**({"tokens": USUAL, "conv1": USUAL, "fc1": USUAL} | layers))
    assert told(check_id, run) == [] and told(check_id, run, "guide")
    assert reason in held_back(check_id, run)[0]


def test_says_how_many_units_are_dead():
    (issue,) = found("dead-relu", health(conv1=[DEAD] * 3, fc1=WELL))
    assert "97%" in issue.description and issue.epoch_index == 0 and issue.evidence["limit"] == 0.5
    assert NAMES["layer_graph"]["sequential_path"][0] == issue.layer_id
