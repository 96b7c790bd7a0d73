"""What goes into a model."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, held_back, linear, network

WEIGHT_NORM = ("conv.parametrizations.weight", "_WeightNorm", 20, {"category": "normalization"})
NORM = ("norm", "BatchNorm1d", 20, {"category": "normalization"})


def fed(*figures, first_loss=None, losses=None, architecture=None, hyperparameters=None):
    """Return a run whose epochs saw these inputs, by the names of `DataFigures` without "input_"."""
    epochs = [{"data": {f"input_{name}": value for name, value in each.items()}} for each in figures]
    if first_loss is not None:
        epochs[0]["steps"] = {"loss_mean": [first_loss, 2.0, 1.0]}
    for epoch, loss in zip(epochs, losses or (), strict=False):
        epoch["loss"] = {"train_mean": loss}
    return Run.from_epochs(epochs, architecture=architecture, hyperparameters=hyperparameters)


LARGE = {"mean": 120.0, "std": 70.0}
TEN_CLASSES = {"loss": "cross_entropy", "num_classes": 10}


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(fed(LARGE), id="pixels"),
        pytest.param(fed({"mean": 0.0, "std": 500.0}), id="wide"),
        pytest.param(fed({"mean": -40.0, "std": 1.0}), id="shifted"),
        pytest.param(fed(LARGE, first_loss=90.0, hyperparameters=TEN_CLASSES), id="loss above guessing"),
        pytest.param(fed(LARGE, architecture=network(linear("fc"), NORM)), id="normalized too late"),
        pytest.param(fed(LARGE, architecture=network(WEIGHT_NORM, linear("fc"))), id="normalized weights"),
    ],
)
def test_large_inputs(run, profile):
    (issue,) = found("input-scale", run, profile)
    assert (str(issue.severity), issue.epoch_index, issue.metric_key) == ("warning", 0, "data.input_mean")


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "figures",
    [
        pytest.param({"mean": 0.0, "std": 1.0}, id="standardized"),
        pytest.param({"mean": 0.5, "std": 0.3}, id="zero to one"),
        pytest.param({"mean": 0.0, "std": 10.0}, id="at the limit"),
        pytest.param({"mean": None, "std": None, "non_finite_share": 0.0}, id="no float input"),
    ],
)
def test_inputs_in_scale(figures, profile):
    assert found("input-scale", fed(figures), profile) == []


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        pytest.param(fed(LARGE, architecture=network(NORM, linear("fc"))), "normalizes its input", id="norm first"),
        pytest.param(fed({"non_finite_share": 0.1}, losses=[1.0]), "every loss is finite", id="missing values"),
    ],
)
def test_inputs_that_do_no_harm(run, reason):
    assert found("input-scale", run) == [] and reason in held_back("input-scale", run)[0]


def test_large_inputs_that_do_no_harm_at_once():
    (issue,) = found("input-scale", fed(LARGE, first_loss=2.4, hyperparameters=TEN_CLASSES))
    assert str(issue.severity) == "info"


@pytest.mark.parametrize("losses", [[math.nan], None], ids=["NaN loss", "loss unknown"])
@pytest.mark.parametrize("profile", BOTH)
def test_inputs_that_are_not_finite(losses, profile):
    (issue,) = found("input-scale", fed({"non_finite_share": 0.01}, losses=losses), profile)
    assert issue.title == "NaN or infinite inputs" and issue.metric_value == 0.01


def padded(*shares):
    return Run.from_epochs([{"data": {"padding_share": share}} for share in shares])


@pytest.mark.parametrize(
    ("shares", "count"),
    [
        pytest.param([0.8, 0.8], 1, id="mostly padding"),
        pytest.param([None, 0.6], 1, id="known once"),
        pytest.param([0.5, 0.5], 0, id="exactly half"),
        pytest.param([0.0], 0, id="none"),
        pytest.param([0.9, 0.05, 0.05], 0, id="in one epoch"),
    ],
)
@pytest.mark.parametrize("profile", BOTH)
def test_padding(shares, count, profile):
    assert len(found("padding-waste", padded(*shares), profile)) == count


def compared(share, duplicates=0.0):
    data = {"overlap_share": share, "duplicate_share": duplicates, "val_samples": 200, "train_samples": 800}
    return Run.from_epochs([{"epoch": 0}, {"epoch": 1, "data": data}])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("share", "duplicates"), [(0.9, 0.0), (0.02, 0.0), (0.1, 0.02), (0.9, 0.3)], ids=lambda value: f"{value:.0%}"
)
def test_shared_samples(share, duplicates, profile):
    (issue,) = found("data-leakage", compared(share, duplicates), profile)
    assert str(issue.severity) == "warning" and issue.metric_value == share


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("share", [0.0, 0.005, 0.01])
def test_separate_samples(share, profile):
    assert found("data-leakage", compared(share), profile) == []


@pytest.mark.parametrize(
    ("share", "duplicates"),
    [(0.3, 0.2), (0.025, 0.004)],
    ids=["texts", "few, by chance"],
)
def test_data_that_repeats_itself_is_no_leak(share, duplicates):
    run = compared(share, duplicates)
    assert found("data-leakage", run) == [] and "repeats itself" in held_back("data-leakage", run)[0]


@pytest.mark.parametrize(
    ("share", "duplicates", "severity"),
    [(0.59, 0.38, "info"), (0.95, 0.7, "info"), (0.9, 0.38, "warning")],
    ids=["users and items", "a table of few values", "more than by nature"],
)
def test_most_samples_of_data_that_repeats_itself(share, duplicates, severity):
    assert [str(issue.severity) for issue in found("data-leakage", compared(share, duplicates))] == [severity]


def close(*pairs):
    return Run.from_epochs([{"loss": {"train_mean": train, "val": {"val_loss": val}}} for train, val in pairs])


def test_closeness_is_a_hint_of_the_guide_alone():
    run = close((2.0, 2.1), (0.8, 0.801), (0.5, 0.501), (0.4, 0.399))
    (issue,) = found("data-leakage", run, "guide")
    assert str(issue.severity) == "info"
    assert found("data-leakage", run) == [] and "watch_data" in held_back("data-leakage", run)[0]


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([(2.0, 2.1), (0.8, 0.9), (0.5, 0.6), (0.4, 0.5)], id="a gap"),
        pytest.param([(2.0, 2.0), (1.9, 1.9), (1.9, 1.9), (1.9, 1.9)], id="nothing learned"),
        pytest.param([(2.0, 2.0), (0.5, 0.5)], id="short"),
    ],
)
def test_not_suspiciously_close(pairs):
    assert found("data-leakage", close(*pairs), "guide") == []
