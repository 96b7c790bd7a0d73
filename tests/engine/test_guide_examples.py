"""Every worked example of the guide fires in both profiles, and the guide's own code works as it stands."""

from __future__ import annotations

import pytest

from diagnostics.engine import (
    CHECKS,
    IssueCategory,
    IssueData,
    IssueSeverity,
    Run,
    check_loss_divergence,
    check_loss_explosion,
    check_overfitting,
    compute_health_score,
    diagnose,
    run_diagnostics,
)
from tests.engine.tools import BOTH, conv, epochs_with, found, linear, network, run_with

OUT_OF_MEMORY = {"level": "ERROR", "msg": "CUDA out of memory. Tried to allocate 2.00 GiB", "kind": "error"}
EARLY_STOP = [2.0, 1.7, 1.45, 1.25, 1.1, 1.0, 0.98, 0.975, 0.97, 0.968, 0.966]

EXAMPLES = [
    ("loss-divergence", {"train": [2.5, 2.7, 3.0]}, [2], "warning"),
    ("loss-explosion", {"train": [0.5, 1.5]}, [1], "critical"),
    ("loss-plateau", {"numbers": [5, 6, 7], "train": [0.500, 0.498, 0.497]}, [7], "warning"),
    ("overfitting", {"numbers": [1, 2, 3], "train": [2.5, 2.3, 2.1], "val": [2.6, 2.7, 3.0]}, [2], "warning"),
    ("high-loss-variance", {"numbers": [3], "train": [1.0], "std": [0.6]}, [3], "warning"),
    ("gradient-instability", {"numbers": [2], "train": [0.5], "largest": [15.0]}, [2], "warning"),
    ("throughput-degradation", {"numbers": [0, 5], "speed": [1000, 750]}, [5], "warning"),
    ("throughput-degradation", {"speed": [1000, 990, 1005, 995, 1000, 750]}, [5], "warning"),
    ("throughput-degradation", {"speed": [1000, 950, 900, 850, 810, 750]}, [5], "warning"),
    ("memory-growth", {"numbers": [0, 10], "rss": [2000, 3000]}, [10], "warning"),
    ("memory-growth", {"rss": [2000 + 100 * epoch for epoch in range(11)]}, [10], "warning"),
    ("memory-growth", {"gpu_memory": [2000, 3000]}, [1], "warning"),
    ("slow-epoch", {"seconds": [10, 10.1, 9.9, 10, 10.2, 9.8, 10, 18, 10.1, 9.9]}, [7], "info"),
    ("slow-epoch", {"seconds": [10] * 7 + [18] + [10] * 2}, [7], "info"),
    ("high-cpu", {"cpu": [95]}, [0], "info"),
    ("diminishing-returns", {"numbers": [0, 5, 6], "train": [2.0, 1.0, 0.98]}, [6], "info"),
    ("early-stop-opportunity", {"train": EARLY_STOP, "seconds": [60] * 11}, [5], "warning"),
]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("check_id", "columns", "epochs", "severity"), EXAMPLES)
def test_example_of_a_curve(check_id, columns, epochs, severity, profile):
    issues = found(check_id, run_with(**columns), profile)
    assert [(issue.epoch_index, issue.severity) for issue in issues] == [(epoch, severity) for epoch in epochs]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
def test_example_of_a_nan(value, profile):
    assert [issue.severity for issue in found("nan-in-loss", run_with(train=[1.0, value]), profile)] == ["critical"]


@pytest.mark.parametrize("profile", BOTH)
def test_example_of_error_logs(profile):
    (issue,) = found("error-logs", run_with(logs=[OUT_OF_MEMORY] * 3), profile)
    assert issue.metric_value == 3 and issue.severity == "critical" and OUT_OF_MEMORY["msg"] in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "architecture"),
    [
        ("fc-dominates", network(conv("conv1", 320), conv("conv2", 4_800), linear("fc1", 1_000_000))),
        ("conv-bottleneck", network(conv("conv1", 320), conv("conv2", 590_080), linear("fc1", 5_130))),
        ("missing-pooling", network(conv("conv1"), conv("conv2"), conv("conv3"), linear("fc1"))),
        ("large-kernel", network(conv("conv1", kernel_size=[7, 7]), input_shape=[1, 1, 28, 28])),
        ("early-channel-explosion", network(conv("conv1", in_channels=1, out_channels=64))),
    ],
)
def test_example_of_an_architecture(check_id, architecture, profile):
    assert len(found(check_id, run_with(architecture=architecture), profile)) == 1


def test_early_stop_counts_what_was_wasted():
    insight = diagnose(run_with(train=EARLY_STOP, seconds=[60] * 11)).sustainability
    assert (insight.optimal_stop_epoch, insight.wasted_epochs, insight.wasted_duration_seconds) == (5, 5, 300)


def issues_of(*severities):
    return [IssueData(IssueSeverity(each), IssueCategory.loss, "x") for each in severities]


@pytest.mark.parametrize(
    ("severities", "score"),
    [
        pytest.param([], 100, id="nothing"),
        pytest.param(["critical", "warning", "warning"], 66, id="one critical, two warnings"),
        pytest.param(["critical"] * 5, 0, id="five criticals"),
        pytest.param(["critical"] * 6, 0, id="never below zero"),
        pytest.param(["info"], 98, id="one info"),
    ],
)
def test_health_score(severities, score):
    assert compute_health_score(issues_of(*severities)) == score


def test_loss_explosion_detection():
    issues = check_loss_explosion([{"loss": {"train_mean": 1.0}}, {"loss": {"train_mean": 5.0}}])
    assert len(issues) == 1
    assert issues[0].severity == IssueSeverity.critical
    assert "explosion" in issues[0].title.lower()


def test_no_false_positives_on_healthy_training():
    epochs = epochs_with(train=[2.3 * 0.7**i + 0.1 for i in range(10)], val=[2.3 * 0.7**i + 0.2 for i in range(10)])
    issues, health_score, _ = run_diagnostics(epochs, [], None)
    assert not [issue for issue in issues if issue.severity == IssueSeverity.critical]
    assert health_score >= 80


@pytest.mark.parametrize("check", [check_loss_divergence, check_loss_explosion, check_overfitting])
def test_all_checks_handle_empty_input(check):
    assert check([]) == []


def test_every_check_is_callable_on_raw_data():
    import diagnostics.engine as engine

    for check in CHECKS.values():
        if any(need.startswith(("baseline.", "ending.")) for need in check.needs):
            continue  # raw data names no baseline and does not end
        name = f"check_{check.id.replace('-', '_')}"
        function = getattr(engine, name, None) or getattr(engine, f"_{name}")
        assert function([]) == [] and function.__doc__ == check.doc


def should_stop_early(result):
    if result["health_score"] < 50:
        return True
    if [issue for issue in result["issues"] if issue["severity"] == "critical"]:
        return True
    return result["sustainability"].get("wasted_compute_pct", 0) > 20


def fixes(result):
    for issue in result["issues"]:
        if issue["title"] == "Loss explosion":
            yield "clip"
        elif issue["title"] == "Overfitting detected":
            yield "regularize"
        elif "Dead layer" in issue["title"]:
            yield issue["layer_id"]


@pytest.mark.parametrize(
    ("columns", "stops", "advice"),
    [
        pytest.param({}, False, [], id="empty"),
        pytest.param({"train": [3.0, 2.0, 1.0]}, False, [], id="healthy"),
        pytest.param({"train": [1.0, 5.0]}, True, ["clip"], id="exploding"),
        pytest.param({"train": [2.5, 2.3, 2.1], "val": [2.6, 2.7, 3.0]}, False, ["regularize"], id="overfitting"),
        pytest.param({"train": EARLY_STOP}, True, [], id="wasteful"),
    ],
)
def test_interpreting_a_report(columns, stops, advice):
    result = diagnose(run_with(**columns)).as_dict()
    assert should_stop_early(result) is stops
    assert list(fixes(result)) == advice


def test_printing_a_report_of_a_wasteful_run():
    result = diagnose(run_with(train=EARLY_STOP, co2=[0.001] * 11)).as_dict()
    sus = result["sustainability"]
    assert result["issue_count"] == len(result["issues"])
    assert sus["wasted_epochs"] == 5 and f"{sus['wasted_co2_kg'] * 1000:.2f}g" == "5.00g"


def test_architecture_of_the_guide():
    architecture = {
        "total_parameters": 1_200_000,
        "layers": {
            "conv1": {"type": "Conv2d", "parameters": 320, "pct_of_total": 0.05},
            "fc1": {"type": "Linear", "parameters": 1_100_000, "pct_of_total": 92.0},
        },
        "layer_graph": {
            "nodes": [
                {"id": "conv1", "type": "Conv2d", "category": "convolution", "kernel_size": [5, 5]},
                {"id": "fc1", "type": "Linear", "category": "linear"},
            ],
            "sequential_path": ["conv1", "pool1", "conv2", "fc1"],
        },
    }
    layers = {layer.id: layer.category for layer in Run.from_epochs([], architecture=architecture).blueprint.layers}
    assert layers == {"conv1": "convolution", "pool1": "pooling", "conv2": "convolution", "fc1": "linear"}
