"""Epochs that look like none of a healthy run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from diagnostics import anomaly_training
from diagnostics.anomaly_training import CannotLearn, learn
from diagnostics.engine import IssueCategory, IssueData, IssueSeverity, Run, diagnose
from diagnostics.engine.anomaly import AnomalyModel, generic
from diagnostics.engine.anomaly_features import features
from diagnostics.engine.anomaly_figures import NAMES, WARM_UP
from diagnostics.engine.causes import explain
from tests.engine.tools import BOTH, epochs_hit, found, held_back

CHECK = "anomalous-epoch"


def epoch(number, chance, scale=1.0):
    loss = scale * (0.3 + 2 * math.exp(-number / 6) * chance.uniform(0.97, 1.03))
    return {
        "epoch": number,
        "learning_rate": 1e-3,
        "loss": {
            "train_mean": loss,
            "train_std": 0.1 * loss,
            "train_max": 1.3 * loss,
            "n_batches": 50,
            "non_finite": 0,
            "val": {"val_loss": 1.05 * loss, "val_acc": 1 - loss / scale / 3},
        },
        "gradients": {"norm_mean": 0.5 * chance.uniform(0.9, 1.1), "norm_max": 0.9},
        "memory": {"process_rss_mb": 900.0 + number % 3},
    }


def healthy(length=20, seed=0, scale=1.0):
    chance = np.random.default_rng(seed)
    return [epoch(number, chance, scale) for number in range(length)]


def wild(at=12, **changes):
    """A healthy run with one epoch in which the losses and the gradients are far off."""
    epochs = healthy()
    loss = {"train_mean": 40.0, "train_std": 60.0, "train_max": 500.0, "val": {"val_loss": 35.0, "val_acc": 0.1}}
    epochs[at]["loss"] |= changes or loss
    if not changes:
        epochs[at]["gradients"] = {"norm_mean": 300.0, "norm_max": 9000.0}
    return epochs


@pytest.fixture(scope="module")
def own_model():
    """What a project learns from thirty sessions of its own."""
    tables = [features(Run.from_epochs(healthy(16, seed))) for seed in range(30)]
    return learn(tables, [str(at) for at in range(30)], name="project", version=3)


@pytest.mark.parametrize("profile", BOTH)
def test_fires_on_a_wild_epoch(profile):
    issues = found("anomalous-epoch", Run.from_epochs(wild()), profile)
    assert 12 in epochs_hit(issues)
    assert {"loss_level", "gradient_change"} <= set(issues[0].evidence["beyond"])


def test_fires_late_in_a_long_run():
    last = wild()[12] | {"epoch": 70}
    assert 70 in epochs_hit(found(CHECK, Run.from_epochs([*healthy(70), last])))


def test_fires_in_the_profile_of_a_project(own_model):
    run = Run.from_epochs(wild(), anomaly_model=own_model)
    issues = found(CHECK, run)
    assert 12 in epochs_hit(issues)
    assert "against 30 healthy runs" in issues[0].description


@pytest.mark.parametrize(
    "epochs",
    [
        pytest.param(healthy(), id="healthy"),
        pytest.param(healthy(scale=1e6), id="the same in another unit"),
        pytest.param(healthy(200), id="long after convergence"),
        pytest.param(healthy(WARM_UP), id="as short as the warm-up"),
        pytest.param(wild()[10:13], id="wild in the warm-up"),
        pytest.param([{"epoch": number, "loss": {"train_mean": 1.0}} for number in range(9)], id="constant"),
        pytest.param([{"epoch": number, "loss": {"train_mean": 1 / (number + 1)}} for number in range(9)], id="sparse"),
        pytest.param([{"epoch": number, "loss": {"train_mean": -float(number)}} for number in range(9)], id="negative"),
    ],
)
@pytest.mark.parametrize("profile", BOTH)
def test_is_silent_on(epochs, profile):
    assert found(CHECK, Run.from_epochs(epochs), profile) == []


def test_one_unusual_figure_is_held_back_by_the_robust_profile(own_model):
    run = Run.from_epochs(wild(train_max=30.0), anomaly_model=own_model)
    assert epochs_hit(found(CHECK, run, "guide")) == [12]
    assert found(CHECK, run) == []
    assert "in combination only" in held_back(CHECK, run)[0]


def test_figures_have_no_scale():
    one, other = (features(Run.from_epochs(healthy(scale=scale))) for scale in (1.0, 1e4))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_figures_do_not_look_ahead():
    np.testing.assert_array_equal(features(Run.from_epochs(wild()[:12])), features(Run.from_epochs(wild()))[:12])


def test_a_run_whose_layers_go_wild_is_seen_there():
    layers = [{"fc": {"gradient_norm_mean": 1.0, "weight_norm": 2.0}} for _ in range(20)]
    layers[9] = {"fc": {"gradient_norm_mean": 1e6, "weight_norm": 900.0}}
    epochs = [row | {"layer_health": {"layers": each}} for row, each in zip(healthy(), layers, strict=True)]
    (issue,) = found(CHECK, Run.from_epochs(epochs))
    assert issue.epoch_index == 9 and any(name.startswith("layers.") for name in issue.evidence["series"])


def test_what_is_not_known_counts_as_ordinary():
    table = np.full((1, len(NAMES)), np.nan)
    assert np.isnan(generic().score(table)).all()
    table[0, 0] = generic().center[0]
    assert generic().score(table)[0] < 0.9


def test_a_report_says_which_model_judged(own_model):
    told = diagnose(Run.from_epochs(wild(), anomaly_model=own_model)).summary["anomaly"]
    assert told["model"] == {"name": "project", "version": 3, "trained": own_model.trained, "sessions": 30}
    assert told["epoch"] == 12 and told["score"] > 0.9
    assert diagnose(Run.from_epochs(healthy(2))).summary["anomaly"]["score"] is None


def test_a_model_survives_its_storage(own_model):
    again = AnomalyModel.from_dict(json.loads(json.dumps(own_model.as_dict(), allow_nan=False)))
    table = features(Run.from_epochs(wild()))
    np.testing.assert_allclose(again.score(table), own_model.score(table), atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"features": ["loss_change"]},
        {"features": [f"x{at}" for at in range(21)]},
        {"center": "no numbers"},
        {"center": [math.nan] * 21},
        {"scale": [0.0] * 21},
        {"weights": []},
        {"weights": 0.5},
        {"knots": [[1.0, 0.0], [0.0, 1.0]]},
        {"precisions": [[[0.0]]]},
        {"version": None},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:20]}",
)
def test_a_damaged_model_is_refused(changes):
    with pytest.raises(ValueError, match="."):
        AnomalyModel.from_dict(generic().as_dict() | changes)


@pytest.mark.parametrize("stored", [None, [], "model", {}], ids=repr)
def test_what_is_no_model_is_refused(stored):
    with pytest.raises(ValueError, match="no anomaly model"):
        AnomalyModel.from_dict(stored)


def issue(check_id, severity="warning"):
    return IssueData(IssueSeverity(severity), IssueCategory.loss, check_id, check_id=check_id, epoch_index=3)


@pytest.mark.parametrize(
    ("others", "cause"),
    [
        ([issue("loss-explosion", "critical"), issue("memory-growth")], "loss-explosion"),
        ([issue("memory-growth")], "memory-growth"),
        ([issue("high-cpu", "info")], None),
        ([], None),
    ],
    ids=["the gravest", "the only one", "information explains nothing", "alone"],
)
def test_follows_from_whatever_else_is_wrong(others, cause):
    anomaly = issue(CHECK)
    explain([anomaly, *others])
    assert anomaly.caused_by == cause


@pytest.mark.parametrize("count", [0, 5, 19])
def test_too_few_runs_teach_nothing(count):
    tables = [features(Run.from_epochs(healthy(30, seed))) for seed in range(count)]
    with pytest.raises(CannotLearn, match=f"{count} healthy runs with"):
        learn(tables, [""] * count, name="project", version=1)


def test_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setattr(anomaly_training, "can_learn", lambda: False)
    with pytest.raises(CannotLearn, match=r"pip install mldiag\[anomaly\]"):
        learn([], [], name="project", version=1)


def test_is_silent_on_new_healthy_runs_of_the_project(own_model):
    runs = [Run.from_epochs(healthy(16, seed), anomaly_model=own_model) for seed in range(100, 140)]
    assert sum(bool(found(CHECK, run)) for run in runs) == 0
    assert sum(bool(found(CHECK, run, "guide")) for run in runs) <= 1
