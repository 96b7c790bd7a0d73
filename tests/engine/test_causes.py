"""One fault, many symptoms."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import CHECKS, IssueCategory, IssueData, IssueSeverity, diagnose
from diagnostics.engine.causes import SYMPTOMS, cause_first, explain
from tests.engine.tools import BOTH, run_with

EXPLODED = [2.3, 1.5, 0.9, 0.5, 9.0, 12.0, 15.0, 15.0, 15.0, 15.0]


def issue(check_id, severity="warning", epoch=None, **evidence):
    category = CHECKS[check_id].category if check_id in CHECKS else IssueCategory.loss
    found = IssueData(IssueSeverity(severity), category, check_id, epoch_index=epoch, check_id=check_id)
    found.evidence = evidence
    return found


def causes(*issues):
    explain(issues)
    return [each.caused_by for each in issues]


def test_symptoms_name_their_cause_and_follow_it():
    report = diagnose(run_with(train=EXPLODED))
    told = {each.check_id: each.caused_by for each in report.issues}
    assert told.pop("learning-rate-too-high") is None and set(told.values()) == {"learning-rate-too-high"}
    assert {"loss-explosion", "loss-divergence"} <= set(told)
    assert report.issues[0].check_id == "learning-rate-too-high"


@pytest.mark.parametrize("profile", BOTH)
def test_the_score_is_the_formula_over_what_is_reported(profile):
    report = diagnose(run_with(train=EXPLODED), profile=profile)
    assert len(report.issues) > 3
    assert report.health_score == max(0, 100 - sum(each.severity.weight for each in report.issues))


def order(*issues):
    explain(issues)
    return [each.check_id for each in cause_first(issues)]


@pytest.mark.parametrize(
    ("issues", "expected"),
    [
        pytest.param(
            [("not-learning", "critical"), ("vanishing-gradients", "warning", 0), ("loss-plateau", "warning", 9)],
            ["vanishing-gradients", "not-learning", "loss-plateau"],
            id="a warning that explains something critical",
        ),
        pytest.param(
            [("overfitting", "warning", 7), ("memory-growth", "warning", 3), ("nan-in-loss", "critical", 9)],
            ["nan-in-loss", "memory-growth", "overfitting"],
            id="what has nothing in common, by severity and epoch",
        ),
        pytest.param(
            [("device-underutilization", "info"), ("overfitting", "info", 7)],
            ["overfitting", "device-underutilization"],
            id="advice about the cost last",
        ),
        pytest.param(
            [("first-epoch-blow-up", "critical", 0), ("learning-rate-too-high", "warning")],
            ["learning-rate-too-high", "first-epoch-blow-up"],
            id="the setting before what it did",
        ),
        pytest.param(
            [("loss-explosion", "critical", 8), ("gradient-spike", "warning", 8), ("loss-spike", "warning", 8)],
            ["loss-spike", "loss-explosion", "gradient-spike"],
            id="the batch before what it did",
        ),
        pytest.param(
            [("loss-explosion", "critical", 4), ("loss-spike", "warning", 6)],
            ["loss-explosion", "loss-spike"],
            id="no batch explains what was before it",
        ),
        pytest.param(
            [("early-stop-opportunity", "warning", 2), ("overfitting", "warning", 12)],
            ["overfitting", "early-stop-opportunity"],
            id="waste names the epoch to stop at",
        ),
    ],
)
def test_the_report_opens_with_the_cause(issues, expected):
    assert order(*(issue(*each) for each in issues)) == expected


@pytest.mark.parametrize(
    ("issues", "expected"),
    [
        pytest.param(["loss-plateau", "memory-growth"], [None, None], id="nothing in common"),
        pytest.param(["not-learning", "loss-plateau"], [None, "not-learning"], id="direct"),
        pytest.param(
            ["loss-explosion", "not-learning", "loss-plateau"], [None, *["loss-explosion"] * 2], id="at its root"
        ),
        pytest.param(["loss-explosion", "loss-explosion"], [None, None], id="not by itself"),
    ],
)
def test_causes(issues, expected):
    assert causes(*map(issue, issues)) == expected


@pytest.mark.parametrize(("symptom", "expected"), [(1, None), (7, "loss-explosion"), (30, "loss-explosion")])
def test_what_was_long_before_is_no_consequence(symptom, expected):
    explosion = issue("loss-explosion", "critical", 9, epochs=[9])
    assert causes(explosion, issue("high-loss-variance", "warning", symptom, epochs=[symptom])) == [None, expected]


@pytest.mark.parametrize(
    ("loss", "gradient", "expected"),
    [
        pytest.param((3, 30), (3, 30), [None, "nan-in-loss"], id="same step"),
        pytest.param((3, 31), (3, 30), ["inf-gradients", None], id="gradient first"),
        pytest.param((5, None), (2, None), ["inf-gradients", None], id="epochs apart"),
        pytest.param((2, None), (2, 20), [None, "nan-in-loss"], id="step unknown"),
    ],
)
def test_nan_begins_in_the_loss_or_in_the_gradients(loss, gradient, expected):
    bad_loss = issue("nan-in-loss", "critical", loss[0], step=loss[1])
    assert causes(bad_loss, issue("inf-gradients", "critical", gradient[0], step=gradient[1])) == expected


def test_consequence_of_information_is_no_warning():
    overfitting, waste = issue("overfitting", "info", 5), issue("early-stop-opportunity", "warning", 5)
    assert causes(overfitting, waste) == [None, "overfitting"] and waste.severity == "info"


def test_information_explains_nothing_critical():
    frozen, idle = issue("unintended-freeze", "info"), issue("not-learning", "critical")
    assert causes(frozen, idle) == [None, None] and cause_first([frozen, idle]) == [idle, frozen]


def test_the_gravest_of_several_issues_of_one_check_explains():
    slight, grave = issue("vanishing-gradients", "info"), issue("vanishing-gradients", "warning")
    assert causes(slight, grave, issue("not-learning", "critical"))[2] == "vanishing-gradients"


def test_table_of_causes_names_each_symptom_once():
    for root, symptoms in SYMPTOMS.items():
        assert root not in symptoms and len(set(symptoms)) == len(symptoms)


def test_every_check_of_the_engine_in_the_table_is_spelled_right():
    told = {*SYMPTOMS, *(each for symptoms in SYMPTOMS.values() for each in symptoms)}
    known = {each.replace("-", "") for each in CHECKS}
    assert len(told & set(CHECKS)) > 20
    assert not {each for each in told if each.replace("-", "") in known and each not in CHECKS}


def test_nan_is_explained_by_the_blow_up():
    epochs = [2.3, 1.0, 40.0, math.nan, math.nan]
    told = {each.check_id: each.caused_by for each in diagnose(run_with(train=epochs)).issues}
    assert told["nan-in-loss"] == "loss-explosion"


@pytest.mark.parametrize("root", ["vanishing-gradients", "dead-relu", "learning-rate-schedule", "not-learning"])
def test_a_model_that_does_not_learn_gives_one_class_only(root):
    assert causes(issue("class-imbalance"), issue(root)) == [root, None]


@pytest.mark.parametrize("root", ["input-scale", "loss-spike"])
def test_what_is_only_told_explains_no_warning(root):
    assert causes(issue("overfitting"), issue(root, "info", 0)) == [None, None]
