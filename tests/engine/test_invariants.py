"""What must hold of every training: parameters change, and gradients reach them once."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, linear, network

NAMES = ("parameters-not-updated", "optimizer-misses-parameters", "no-gradient")


def window(layers, batches=20, **loop):
    return {
        "loss": {"train_mean": 1.0, "n_batches": batches},
        "layer_health": {"layers": {name: {"trainable": True, **stats} for name, stats in layers.items()}},
        "loop": loop,
    }


def run_of(*windows, hyperparameters=None):
    architecture = network(linear("a", 10), linear("b", 1000))
    return Run.from_epochs(
        [{"epoch": number, **each} for number, each in enumerate(windows)],
        architecture=architecture,
        hyperparameters=hyperparameters,
    )


def layer(unchanged=False, optimized=True, no_gradient=False, norm=0.1):
    given = {"unchanged": unchanged, "optimized": optimized, "no_gradient": no_gradient, "gradient_norm_max": norm}
    return {name: value for name, value in given.items() if value is not None}


def never_stepped():
    return {"unchanged": True}


GOOD = layer()
STUCK = layer(unchanged=True)
MISSED = layer(unchanged=True, optimized=False, no_gradient=None, norm=None)
CUT = layer(no_gradient=True, norm=None)
ZERO = layer(norm=0.0)
UNSTEPPED = never_stepped()


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "run", "layer_id"),
    [
        pytest.param("parameters-not-updated", run_of(*[window({"a": GOOD, "b": STUCK})] * 4), "b", id="one layer"),
        pytest.param(
            "parameters-not-updated",
            run_of(*[window({"a": UNSTEPPED, "b": UNSTEPPED}, backward_passes=64, optimizer_steps=0)] * 4),
            None,
            id="nothing changes",
        ),
        pytest.param(
            "parameters-not-updated", run_of(*[window({"a": GOOD, "b": STUCK}, 2)] * 5), "b", id="five short windows"
        ),
        pytest.param("optimizer-misses-parameters", run_of(*[window({"a": GOOD, "b": MISSED})] * 4), "b", id="missed"),
        pytest.param(
            "optimizer-misses-parameters", run_of(*[window({"a": MISSED, "b": MISSED})] * 4), "b", id="all missed"
        ),
        pytest.param(
            "optimizer-misses-parameters",
            run_of(*[window({"a": UNSTEPPED, "b": UNSTEPPED}, backward_passes=9, other_optimizer_steps=2)] * 4),
            None,
            id="another model's optimizer",
        ),
        pytest.param("no-gradient", run_of(*[window({"a": GOOD, "b": CUT})] * 4), "b", id="cut off"),
        pytest.param("no-gradient", run_of(*[window({"a": GOOD, "b": ZERO})] * 4), "b", id="exactly zero"),
    ],
)
def test_broken(check_id, run, layer_id, profile):
    assert [each.layer_id for each in found(check_id, run, profile)] == [layer_id]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run_of(*[window({"a": GOOD, "b": GOOD})] * 4), id="all well"),
        pytest.param(run_of(*[window({"a": GOOD, "b": STUCK}, 15)] * 4), id="fewer than 64 steps"),
        pytest.param(run_of(*[window({"a": GOOD, "b": STUCK})] * 6, window({"a": GOOD, "b": GOOD})), id="changes late"),
        pytest.param(
            run_of(*[window({"a": GOOD, "b": layer(unchanged=None)})] * 4), id="a rate of zero: nothing is told"
        ),
        pytest.param(run_of(*[window({"a": GOOD, "b": layer(optimized=False)})] * 4), id="updated by hand"),
        pytest.param(
            run_of(*[window({"a": UNSTEPPED, "b": UNSTEPPED}, backward_passes=0)] * 6), id="no backward pass at all"
        ),
        pytest.param(
            run_of(*[window({"a": GOOD, "b": CUT})] * 5, window({"a": GOOD, "b": GOOD})), id="used in the last window"
        ),
        pytest.param(run_of(*[window({"a": ZERO, "b": ZERO})] * 4), id="no gradient anywhere"),
        pytest.param(
            run_of(*[window({"a": GOOD, "b": {**CUT, "trainable": False, "gradient_norm_max": None}})] * 4),
            id="frozen",
        ),
    ],
)
def test_sound(run, profile):
    assert [issue for name in NAMES for issue in found(name, run, profile)] == []


def test_layers_left_out_on_purpose():
    windows = [window({"a": GOOD, "b": MISSED})] * 4
    (issue,) = found("optimizer-misses-parameters", run_of(*windows, hyperparameters={"mode": "fine-tuning"}))
    assert str(issue.severity) == "info"


def kept(*values):
    return Run.from_epochs([{"epoch": n, "loop": {"gradients_kept": value}} for n, value in enumerate(values)])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("run", [kept(True), kept(True, True), kept(True, False, True), kept(None, True, True)])
def test_gradients_are_kept(run, profile):
    assert len(found("missing-zero-grad", run, profile)) == 1


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("run", [kept(False), kept(None, True), kept(True, False), kept(False, False, True, False)])
def test_gradients_are_reset(run, profile):
    assert found("missing-zero-grad", run, profile) == []


@pytest.mark.parametrize(("norm", "fires"), [(0.1, True), (1e-4, True), (1e-9, False)])
def test_a_gradient_too_small_for_single_precision_has_vanished(norm, fires):
    stuck = layer(unchanged=True, norm=norm) | {"weight_norm": 3.0}
    assert bool(found("parameters-not-updated", run_of(*[window({"a": GOOD, "b": stuck})] * 5))) is fires
