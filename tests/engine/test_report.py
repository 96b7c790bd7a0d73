"""The report: order, scores, groups, figures."""

from __future__ import annotations

import json
import math

import pytest

from diagnostics.engine import CHECKS, DiagnosticThresholds, Run, diagnose, run_diagnostics
from tests.engine.tools import conv, epochs_with, linear, network, pool, run_with

BAD = run_with(
    train=[2.5, 2.7, 3.0, 9.0],
    cpu=[95] * 4,
    logs=[{"level": "ERROR", "msg": "CUDA out of memory"}],
    architecture=network(conv("conv1", 320), linear("fc1", 1_000_000)),
)


def test_gravest_first_then_by_epoch():
    order = [(issue.check_id, issue.epoch_index) for issue in diagnose(BAD).issues]
    assert order == [
        ("error-logs", None),
        ("loss-explosion", 3),
        ("fc-dominates", None),
        ("loss-divergence", 2),
        ("high-cpu", 0),
    ]


def test_score_is_that_of_what_is_reported():
    assert diagnose(BAD).health_score == 100 - 20 - 20 - 7 - 7 - 2


def test_suppressed_is_told_but_not_scored():
    report = diagnose(run_with(train=[1.0, 1.5, 2.0, 0.4, 0.3]))
    assert report.health_score == 100 and report.summary["suppressed_count"] == len(report.suppressed) > 0
    assert all(issue.suppressed for issue in report.suppressed)


def test_guide_profile_suppresses_nothing():
    report = diagnose(run_with(train=[1.0, 1.5, 2.0, 0.4, 0.3]), profile="guide")
    assert report.suppressed == [] and report.issues


def test_summary():
    summary = diagnose(BAD).summary
    assert summary["severity_breakdown"] == {"critical": 2, "warning": 2, "info": 1}
    assert summary["category_breakdown"] == {"architecture": 1, "logs": 1, "loss": 2, "system": 1}
    assert summary["checks_run"] + len(summary["skipped_checks"]) == len(CHECKS)


def test_skipped_checks_name_their_columns():
    assert diagnose(run_with(train=[1.0])).skipped["overfitting"] == ["loss.val.val_loss"]


@pytest.mark.parametrize(("disabled", "gone"), [("loss-explosion", {"loss-explosion"}), ("logs", {"error-logs"})])
def test_disabled(disabled, gone):
    everything = {issue.check_id for issue in diagnose(BAD).issues}
    assert {issue.check_id for issue in diagnose(BAD, disabled={disabled}).issues} == everything - gone


@pytest.mark.parametrize("arguments", [{"profile": "strict"}, {"disabled": {"loss-explosoin"}}], ids=repr)
def test_refuses_what_does_not_exist(arguments):
    with pytest.raises(ValueError, match="unknown profile|no check"):
        diagnose(BAD, **arguments)


def test_epoch_trends_list_each_epoch_hit():
    trends = {trend.epoch: [issue.check_id for issue in trend.issues] for trend in diagnose(BAD).epoch_trends}
    assert trends == {
        0: ["high-cpu"],
        1: ["high-cpu"],
        2: ["loss-divergence", "high-cpu"],
        3: ["loss-explosion", "high-cpu"],
    }


def test_session_level_issues_have_no_epoch():
    assert [issue.check_id for issue in diagnose(BAD).session_level_issues] == ["error-logs", "fc-dominates"]


def test_layer_highlights_put_the_worst_first():
    layers = network(conv("a", 9, in_channels=1, out_channels=64), conv("b"), conv("c"), linear("fc", 10**6))
    highlights = diagnose(run_with(architecture=layers)).layer_highlights
    scores = [(each.layer_id, each.layer_type, each.severity_score) for each in highlights]
    assert scores == [("a", "Conv2d", 9), ("fc", "Linear", 7)]


def test_as_dict_has_the_keys_of_the_api():
    result = diagnose(BAD).as_dict()
    assert list(result) == [
        "health_score",
        "issue_count",
        "arch_type",
        "summary_json",
        "issues",
        "epoch_trends",
        "session_level_issues",
        "layer_highlights",
        "sustainability",
    ]
    assert result["arch_type"] == "cnn" and result["issues"][0]["epoch_index"] is None


def test_long_runs_make_no_huge_answer():
    report = diagnose(run_with(train=[math.nan] * 1000, cpu=[99] * 1000))
    assert len(json.dumps(report.as_dict(), allow_nan=False)) < 1_000_000


def test_run_diagnostics_takes_thresholds():
    epochs = epochs_with(train=[1.0, 2.5])
    assert run_diagnostics(epochs, [], None)[1] == 80
    assert run_diagnostics(epochs, [], None, thresholds=DiagnosticThresholds(loss_explosion_ratio=3.0))[1] == 100


def test_thresholds_of_the_guide_may_be_given_by_name():
    limits = DiagnosticThresholds(loss_explosion_ratio=3.0, diminishing_returns_pct=0.10)
    issues, score, kind = run_diagnostics([], [], None, thresholds=limits)
    assert (issues, score, kind) == ([], 100, "generic")


def health(*epochs):
    return Run.from_epochs([{"layer_health": {"layers": layers}} for layers in epochs])


@pytest.mark.parametrize(
    ("epochs", "dead", "vanishing", "frozen"),
    [
        pytest.param([{"a": {"is_dead": True}}], ["a"], [], [], id="dead"),
        pytest.param([{"a": {"is_dead": True}}, {"a": {"is_dead": False}}], [], [], [], id="came back to life"),
        pytest.param([{"a": {"is_dead": True}}, {"b": {"is_dead": False}}], ["a"], [], [], id="not seen again"),
        pytest.param([{"a": {"gradient_norm_mean": 1e-9}}], [], ["a"], [], id="vanishing by norm"),
        pytest.param([{"a": {"has_vanishing_gradients": True}}], [], ["a"], [], id="vanishing by flag"),
        pytest.param([{"a": {"gradient_norm_mean": 0.0, "trainable": False}}], [], [], [], id="frozen on purpose"),
        pytest.param([{"a": {"has_frozen_output": True}}], [], [], ["a"], id="frozen output"),
        pytest.param([{"a": {"gradient_norm_mean": 0.1, "is_dead": False}}], [], [], [], id="healthy"),
    ],
)
def test_layers_of_the_insight(epochs, dead, vanishing, frozen):
    insight = diagnose(health(*epochs)).sustainability
    assert (insight.dead_layers, insight.vanishing_gradient_layers, insight.frozen_output_layers) == (
        dead,
        vanishing,
        frozen,
    )


@pytest.mark.parametrize(("values", "pairs"), [([0.97, 0.99], 1), ([0.99, 0.5], 0)], ids=["redundant", "not always"])
def test_redundant_pairs_are_so_on_average(values, pairs):
    rows = [{"layer_health": {"correlations": [{"layer_a": "a", "layer_b": "b", "correlation": v}]}} for v in values]
    found = diagnose(Run.from_epochs(rows)).sustainability.redundant_layer_pairs
    assert [(pair["layer_a"], pair["layer_b"]) for pair in found] == [("a", "b")] * pairs


@pytest.mark.parametrize(
    ("shares", "score"), [((50, 50), 100.0), ((100, 0), 50.0), ((None, None), None)], ids=["fit", "half", "unknown"]
)
def test_parameter_efficiency(shares, score):
    rows = [{"name": name, "pct_total": share} for name, share in zip("ab", shares, strict=True)]
    layers = network(conv("a", 100), pool("p"), linear("b", 100))
    run = Run.from_epochs([{"profiler": {"per_layer": rows}}], architecture=layers)
    assert diagnose(run).sustainability.parameter_efficiency_score == score


def test_carbon():
    rows = [
        {
            "duration_seconds": 10 * (index + 1),
            "throughput": {"samples_processed": 500},
            "carbon_emissions": {"epoch_co2_kg": 0.001, "epoch_energy_kwh": 0.01, "power_draw_watts": watts},
        }
        for index, watts in enumerate([30, 60])
    ]
    insight = diagnose(Run.from_epochs(rows)).sustainability
    assert (insight.total_co2_kg, insight.total_energy_kwh, insight.co2_per_epoch_avg_kg) == (0.002, 0.02, 0.001)
    assert (insight.co2_per_1k_samples_kg, insight.avg_power_draw_watts, insight.wasted_co2_kg) == (0.002, 50.0, 0.0)
    assert (insight.total_training_duration_seconds, insight.total_samples_processed) == (30.0, 1000)


def test_insight_of_an_empty_run_says_nothing():
    insight = diagnose(Run.from_epochs([])).sustainability.as_dict()
    zero = {name for name, value in insight.items() if value is not None and value != []}
    assert zero == {"wasted_epochs", "wasted_compute_pct"}


@pytest.mark.parametrize(("profile", "held"), [("robust", True), ("guide", False)])
def test_an_unusual_epoch_that_another_issue_explains_costs_nothing(profile, held):
    report = diagnose(BAD, profile=profile)
    assert ("anomalous-epoch" in {issue.check_id for issue in report.suppressed}) is held
    assert ("anomalous-epoch" in {issue.check_id for issue in report.issues}) is not held
