"""Policies: what they say, what they refuse, how they change a report."""

from __future__ import annotations

import pytest

from diagnostics.engine import InvalidSetting, Policy, Run, diagnose
from tests.engine.tools import run_with

EXPLODED = run_with(train=[1.0, 0.5, 2.0])
OVERFIT = run_with(train=[1.0, 0.8, 0.6], val=[1.0, 1.2, 1.5])


def severities(report):
    return {issue.check_id: str(issue.severity) for issue in report.issues}


def test_nothing_given_is_the_default():
    assert Policy.from_mapping({}) == Policy()
    assert Policy.from_mapping({"thresholds": None, "baseline": None, "severity": None}) == Policy()


def test_a_policy_judges_as_the_arguments_do():
    policy = Policy.from_mapping({"profile": "guide", "thresholds": {"loss_explosion_ratio": 9}, "disable": ["memory"]})
    report = policy.diagnose(EXPLODED)
    assert "loss-explosion" not in severities(report)
    assert (report.summary["profile"], report.summary["policy"]["disable"]) == ("guide", ["memory"])
    assert report.summary["policy"]["thresholds"] == {"loss_explosion_ratio": 9}


@pytest.mark.parametrize(("severity", "score"), [("critical", 80), ("warning", 93), ("info", 98)])
def test_a_remapped_severity_counts_in_the_score(severity, score):
    report = Policy.from_mapping({"severity": {"overfitting": severity}}).diagnose(OVERFIT)
    assert severities(report) == {"overfitting": severity}
    assert (report.health_score, report.summary["severity_breakdown"][severity]) == (score, 1)


def test_a_remapped_severity_wins_over_a_lighter_cause():
    losses = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    plain = diagnose(run_with(train=losses), profile="guide")
    chosen = {issue.check_id: "critical" for issue in plain.issues}
    report = Policy.from_mapping({"profile": "guide", "severity": chosen}).diagnose(run_with(train=losses))
    assert plain.issues and set(severities(report).values()) == {"critical"}


def test_a_severity_of_what_is_not_found_changes_nothing():
    assert Policy.from_mapping({"severity": {"slow-epoch": "critical"}}).diagnose(OVERFIT).health_score == 93


def test_the_summary_names_the_baseline():
    run = Run.from_epochs([{"epoch": 0}], hyperparameters={"task": "mnist_cnn"})
    assert Policy().diagnose(run).summary["policy"]["baseline"]["name"] == "mnist_cnn"
    assert Policy().diagnose(EXPLODED).summary["policy"]["baseline"] is None


@pytest.mark.parametrize(
    ("given", "place", "sentence"),
    [
        ({"threshold": {}}, "threshold", "did you mean thresholds?"),
        ({"thresholds": []}, "thresholds", "must be an object"),
        ({"thresholds": {"loss_explosion": 3}}, "thresholds.loss_explosion", "did you mean loss_explosion_ratio?"),
        ({"thresholds": {"loss_explosion_ratio": "3"}}, "thresholds.loss_explosion_ratio", "must be a number"),
        ({"thresholds": {"throughput_drop_pct": 20}}, "thresholds.throughput_drop_pct", "between 0 and 1"),
        ({"thresholds": {"overfitting_epochs": 0}}, "thresholds.overfitting_epochs", "1 or more"),
        ({"profile": "strict"}, "profile", "there are guide, robust"),
        ({"profile": ["guide"]}, "profile", "unknown profile"),
        ({"disable": "slow-epoch"}, "disable", "must be a list"),
        ({"disable": ["memory", "slow-epochs"]}, "disable[1]", "did you mean slow-epoch?"),
        ({"disable": [[]]}, "disable[0]", "must be a name"),
        ({"severity": ["overfitting"]}, "severity", "must be an object"),
        ({"severity": {"overfiting": "info"}}, "severity.overfiting", "did you mean overfitting?"),
        ({"severity": {"overfitting": "fatal"}}, "severity.overfitting", "there are critical, warning, info"),
        ({"severity": {"overfitting": []}}, "severity.overfitting", "unknown severity"),
        ({"baseline": "mnist"}, "baseline", "did you mean mnist_cnn?"),
        ({"baseline": 5}, "baseline", "must be a name"),
        ({"baselines": {"mine": {"value": 0}}}, "baselines.mine.value", "must not be 0"),
        ({"baselines": 5}, "baselines", "must be an object"),
        ([], "", "must be an object"),
    ],
    ids=repr,
)
def test_refuses_with_the_place(given, place, sentence):
    with pytest.raises(InvalidSetting) as refused:
        Policy.from_mapping(given)
    assert refused.value.place == place
    assert sentence in str(refused.value)


def test_own_baselines_stand_beside_the_shipped_ones():
    policy = Policy.from_mapping({"baselines": {"digits": {"value": 0.97}}, "baseline": "digits"})
    assert {"digits", "mnist_cnn"} <= set(policy.baselines)
    assert policy.baseline_of({}).value == 0.97
    assert policy.baseline_of({"task": "mnist_cnn"}).value == 0.99
