"""Compute that brought little."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds, diagnose
from tests.engine.tools import BOTH, epochs_hit, found, held_back, run_with

STEADY = [10.0 - 0.2 * epoch for epoch in range(40)]
SETTLED = [0.5 + 1.5 * 0.5**epoch for epoch in range(30)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("train", "expected"),
    [
        pytest.param([2.0, 1.0, 0.98], [2], id="guide's figures"),
        pytest.param([2.0, 1.0, 0.9], [], id="ten percent"),
        pytest.param([2.0, 1.0], [], id="too short"),
        pytest.param([1.0, 1.0, 1.0], [], id="never gained anything"),
        pytest.param([], [], id="empty"),
    ],
)
def test_diminishing_returns(train, expected, profile):
    assert epochs_hit(found("diminishing-returns", run_with(train=train), profile)) == expected


def test_steady_progress_is_held_back():
    run = run_with(train=STEADY)
    assert found("diminishing-returns", run, "guide") and found("diminishing-returns", run) == []
    assert "still improves" in held_back("diminishing-returns", run)[0]


@pytest.mark.parametrize("check_id", ["diminishing-returns", "early-stop-opportunity"])
def test_settled_run_is_information(check_id):
    (issue,) = found(check_id, run_with(train=SETTLED))
    assert issue.severity == "info" and 8 <= issue.epoch_index <= 10


def test_progress_after_a_pause_is_no_end():
    pause = [2.0, 1.0, 0.99, 0.6, 0.3]
    assert found("diminishing-returns", run_with(train=pause)) == []
    assert epochs_hit(found("diminishing-returns", run_with(train=pause), "guide")) == [2]


@pytest.mark.parametrize(
    ("columns", "guide", "robust"),
    [
        pytest.param({"train": [3.0, 2.0, 1.0]}, [], [], id="still improving"),
        pytest.param({"train": [2.0, 1.0, 0.99, 0.6, 0.3]}, [], [], id="a pause"),
        pytest.param({"train": STEADY}, [21], [], id="steady progress"),
        pytest.param({"train": [0.4, 0.1, 0.09, 0.085, 0.06]}, [], [], id="small, but a third of it"),
        pytest.param({"train": [2.0, 1.0, 0.99]}, [1], [], id="one epoch is not worth a word"),
    ],
)
def test_early_stop_opportunity(columns, guide, robust):
    run = run_with(**columns)
    assert epochs_hit(found("early-stop-opportunity", run, "guide")) == guide
    assert epochs_hit(found("early-stop-opportunity", run)) == robust


def test_validation_decides_where_there_is_one():
    train = [2.0 * 0.8**epoch for epoch in range(20)]
    val = [1.0, 0.7, 0.5, 0.4] + [0.4 + 0.01 * epoch for epoch in range(16)]
    (issue,) = found("early-stop-opportunity", run_with(train=train, val=val))
    assert (issue.metric_key, issue.epoch_index, issue.severity) == ("loss.val.val_loss", 3, "warning")


BEST_AT_3 = [1.0, 0.7, 0.5, 0.4]


@pytest.mark.parametrize(
    ("val", "severity"),
    [
        pytest.param([*BEST_AT_3, *[0.45] * 12], "warning", id="never reached again"),
        pytest.param([*BEST_AT_3, *[0.45] * 8], "info", id="too short a time"),
        pytest.param([*BEST_AT_3, *[0.401] * 12], "info", id="came back near"),
        pytest.param([*BEST_AT_3, *[0.45] * 11, 0.3999], "info", id="a little better at last"),
        pytest.param([*BEST_AT_3, *[0.42, 0.36, 0.4, 0.44, 0.38, 0.41] * 2], "info", id="noise around it"),
        pytest.param(SETTLED, "info", id="converged"),
    ],
)
def test_waste_is_a_warning_on_strong_evidence_only(val, severity):
    train = [2.0 * 0.9**epoch for epoch in range(len(val))]
    issues = found("early-stop-opportunity", run_with(train=train, val=val))
    assert [issue.severity for issue in issues] in ([severity], [] if severity == "info" else [severity])


def test_lucky_best_of_a_converged_run_is_no_warning():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        val = [*BEST_AT_3, *(0.4 * (1 + 0.05 * rng.normal(size=40)))]
        issues = found("early-stop-opportunity", run_with(train=[2.0 * 0.9**epoch for epoch in range(44)], val=val))
        assert {str(issue.severity) for issue in issues} <= {"info"}


def test_key_and_value_belong_together():
    (issue,) = found("early-stop-opportunity", run_with(train=[1.0] * 20, val=[*BEST_AT_3, *[0.5] * 16]))
    assert (issue.metric_key, issue.metric_value) == ("loss.val.val_loss", 0.4)
    assert issue.evidence["wasted_epochs"] == 16


def test_run_that_still_improves_is_not_told_to_stop():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        val = np.linspace(2, 0.5, 30) + 0.02 * rng.normal(size=30)
        run = run_with(train=val.tolist(), val=val.tolist())
        assert diagnose(run).sustainability.wasted_epochs == 0


@pytest.mark.parametrize(
    ("seconds", "wasted", "share"),
    [([60] * 11, 300, 5 / 11), ([100] * 6 + [20] * 5, 100, 1 / 7), ([None] * 11, None, 5 / 11)],
    ids=["equal", "short epochs at the end", "not logged"],
)
def test_waste_is_measured_in_time(seconds, wasted, share):
    train = [2.0, 1.7, 1.45, 1.25, 1.1, 1.0, 0.98, 0.975, 0.97, 0.968, 0.966]
    (issue,) = found("early-stop-opportunity", run_with(train=train, seconds=seconds), "guide")
    assert issue.evidence["wasted_seconds"] == wasted
    assert issue.evidence["wasted_share"] == pytest.approx(share)
    assert issue.severity == ("warning" if share > 0.3 else "info")


def test_diminishing_follows_its_threshold():
    run = run_with(train=[2.0, 1.0, 0.98])
    limits = DiagnosticThresholds(diminishing_returns_pct=0.01)
    assert found("diminishing-returns", run, "guide", limits) == []
