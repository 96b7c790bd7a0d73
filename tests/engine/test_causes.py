"""One fault, many symptoms."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import CHECKS, IssueCategory, IssueData, IssueSeverity, diagnose
from diagnostics.engine.causes import SYMPTOMS, explain, one_per_cause
from tests.engine.tools import run_with

EXPLODED = [2.3, 1.5, 0.9, 0.5, 9.0, 12.0, 15.0, 15.0, 15.0, 15.0]


def issue(check_id, severity="warning", epoch=None, **evidence):
    found = IssueData(IssueSeverity(severity), IssueCategory.loss, check_id, epoch_index=epoch, check_id=check_id)
    found.evidence = evidence
    return found


def causes(*issues):
    explain(issues)
    return [each.caused_by for each in issues]


def test_symptoms_name_their_cause_and_follow_it():
    report = diagnose(run_with(train=EXPLODED))
    told = {each.check_id: each.caused_by for each in report.issues}
    assert told["loss-explosion"] is None and told["loss-divergence"] == "loss-explosion"
    assert [each.check_id for each in report.issues][0] == "loss-explosion"


def test_symptoms_of_one_cause_cost_once():
    report = diagnose(run_with(train=EXPLODED))
    warnings = [each for each in report.issues if each.severity == "warning"]
    assert len(warnings) > 1 and {each.caused_by for each in warnings} == {"loss-explosion"}
    assert report.health_score >= 100 - 20 - 7 - 2


def test_guide_profile_counts_every_issue():
    report = diagnose(run_with(train=EXPLODED), profile="guide")
    assert report.health_score == max(0, 100 - sum(each.severity.weight for each in report.issues))


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


def test_other_layers_and_causes_count_each():
    issues = [issue("vanishing-gradients"), issue("vanishing-gradients"), issue("memory-growth")]
    assert one_per_cause(issues) == issues


def test_table_of_causes_names_checks_only_once_each():
    for root, symptoms in SYMPTOMS.items():
        assert root not in symptoms and len(set(symptoms)) == len(symptoms)
    assert set(SYMPTOMS) <= set(CHECKS)


def test_nan_is_explained_by_the_blow_up():
    epochs = [2.3, 1.0, 40.0, math.nan, math.nan]
    told = {each.check_id: each.caused_by for each in diagnose(run_with(train=epochs)).issues}
    assert told["nan-in-loss"] == "loss-explosion"
