"""Single steps with a wild loss or a wild gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found


def stepped(norms, losses=None, epochs=4):
    """Return a run of 4 epochs with these gradient norms, and a loss of 1 at each step unless given."""
    size, losses = len(norms) // epochs, losses or [1.0] * len(norms)
    cuts = [slice(epoch * size, (epoch + 1) * size) for epoch in range(epochs)]
    return Run.from_epochs(
        [
            {"steps": {"first": list(range(cut.start, cut.stop)), "grad_norm_max": norms[cut], "loss_max": losses[cut]}}
            for cut in cuts
        ]
    )


def calm(seed=0, length=200, spread=0.2):
    return np.exp(spread * np.random.default_rng(seed).normal(size=length)).tolist()


def with_spikes(at, height=60.0):
    return [height if step in at else norm for step, norm in enumerate(calm())]


JUMP = [9.0 if step in (120, 121) else 1.0 for step in range(200)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("norms", "losses", "severity", "count"),
    [
        pytest.param(with_spikes([120]), JUMP, "warning", 1, id="and the loss jumps"),
        pytest.param(with_spikes([119]), JUMP, "warning", 1, id="leads the loss"),
        pytest.param(with_spikes([120]), None, "info", 1, id="contained"),
        pytest.param(with_spikes([120]), [math.nan] * 200, "warning", 1, id="loss lost"),
        pytest.param(with_spikes(range(120, 130)), JUMP, "warning", 10, id="a spike is no yardstick for the next"),
    ],
)
def test_spike(norms, losses, severity, count, profile):
    (issue,) = found("gradient-spike", stepped(norms, losses), profile)
    assert (issue.epoch_index, str(issue.severity), issue.count) == (2, severity, count)


def test_spike_names_its_step():
    (issue,) = found("gradient-spike", stepped(with_spikes([120]), JUMP))
    assert issue.evidence["step"] == 120 and "at step 120" in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "norms",
    [
        pytest.param(calm(), id="calm"),
        pytest.param(with_spikes([5]), id="in the first steps"),
        pytest.param(with_spikes([120], 6.0), id="six times is no spike"),
        pytest.param([10.0 * norm * 0.95**step for step, norm in enumerate(calm())], id="decay"),
        pytest.param([norm * 1.02**step for step, norm in enumerate(calm())], id="slow growth"),
        pytest.param([50.0] * 20 + with_spikes([120])[20:], id="the start was as large"),
        pytest.param([math.inf if step == 120 else norm for step, norm in enumerate(calm())], id="infinite"),
        pytest.param([0.0] * 200, id="zero"),
        pytest.param([None] * 200, id="not logged"),
        pytest.param(calm(length=12), id="short"),
    ],
)
def test_no_spike(norms, profile):
    assert found("gradient-spike", stepped(norms), profile) == []


@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6])
def test_scatter_is_silent(spread):
    assert sum(bool(found("gradient-spike", stepped(calm(seed, 400, spread)))) for seed in range(60)) == 0


DECAY = [0.2 + 2.1 * math.exp(-step / 40) for step in range(200)]
TEN = {"loss": "cross_entropy", "num_classes": 10}


def losing(losses, epochs=4, **hyperparameters):
    cuts = [slice(at * len(losses) // epochs, (at + 1) * len(losses) // epochs) for at in range(epochs)]
    steps = {"first": list(range(len(losses))), "count": [1] * len(losses), "loss_mean": losses, "loss_max": losses}
    rows = [{name: values[cut] for name, values in steps.items()} for cut in cuts]
    return Run.from_epochs([{"steps": row} for row in rows], hyperparameters=hyperparameters)


def with_losses(spikes, curve=DECAY, level=0.03):
    jitter = np.exp(level * np.random.default_rng(3).normal(size=len(curve)))
    return [spikes.get(step, float(loss * noise)) for step, (loss, noise) in enumerate(zip(curve, jitter, strict=True))]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        pytest.param(with_losses({150: 8.0}), (150, 1), id="one batch"),
        pytest.param(with_losses({110: 9.0, 111: 5.0, 112: 4.0}), (110, 1), id="the steps after it are its own"),
        pytest.param(with_losses({90: 9.0, 170: 7.0}), (90, 2), id="two"),
        pytest.param(with_losses({150: 1.5}, [loss - 2.0 for loss in DECAY]), (150, 1), id="of a negative loss"),
    ],
)
def test_loss_spike(losses, steps, profile):
    assert [(issue.evidence["step"], issue.count) for issue in found("loss-spike", losing(losses), profile)] == [steps]


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(losing(with_losses({})), id="no spike"),
        pytest.param(losing(with_losses({150: 1.5})), id="a hard batch"),
        pytest.param(losing(with_losses({3: 30.0})), id="at the start"),
        pytest.param(losing(with_losses({150: 0.5}, [0.1] * 200), **TEN), id="better than guessing"),
        pytest.param(losing(with_losses({}, [2.3] * 200, level=0.3)), id="noise"),
        pytest.param(losing(with_losses({150: math.nan})), id="nan"),
        pytest.param(losing([1.0, 9.0]), id="too short"),
    ],
)
def test_no_loss_spike(run):
    assert found("loss-spike", run) == []


def test_says_whether_the_loss_came_back():
    once, thrown = with_losses({150: 8.0}), with_losses(dict.fromkeys(range(150, 200), 8.0))
    told = [found("loss-spike", losing(losses))[0].description for losses in (once, thrown)]
    assert "came back within 1 more" in told[0] and "did not come back" in told[1]


def spiked(tail, at=90):
    """Return a decay with a lower spike at a step, and the losses of the steps after it."""
    return losing(with_losses({at: 1.6, **{at + 1 + step: loss for step, loss in enumerate(tail)}}))


def test_a_lower_spike_that_threw_the_model_back_is_information():
    (issue,) = found("loss-spike", spiked([1.2, 1.0, 0.9, 0.7]))
    assert (str(issue.severity), issue.evidence["step"]) == ("info", 90)


def test_a_hard_batch_that_left_no_trace_is_none():
    assert found("loss-spike", spiked([])) == []


STAGE = [0.2 + 2.1 * math.exp(-step / 12) for step in range(100)] + [
    0.2 + 4 * math.exp(-step / 25) for step in range(100)
]


@pytest.mark.parametrize(
    ("curve", "severity"),
    [
        pytest.param(STAGE, "info", id="from the first step of an epoch on"),
        pytest.param(STAGE[:80] + STAGE[100:] + [0.2] * 20, "info", id="from any step on"),
        pytest.param([*DECAY[:110], *[9.0] * 90], "warning", id="thrown for good"),
    ],
)
def test_a_loss_that_is_high_for_a_while_is_a_new_stage(curve, severity):
    assert [str(issue.severity) for issue in found("loss-spike", losing(with_losses({}, curve)))] == [severity]
