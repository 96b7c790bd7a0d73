"""Where the compute of a step goes."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, conv, found, held_back, linear, network


def profiled(*epochs, architecture=None, environment=None):
    rows = [{"profiler": epoch} for epoch in epochs]
    return Run.from_epochs(rows, architecture=architecture, environment=environment)


def shares(**layers):
    return {"per_layer": [{"name": name, "pct_total": share} for name, share in layers.items()]}


def passes(forward, backward):
    return {"operation_categories": {"forward_pass": {"pct_cpu": forward}, "backward_pass": {"pct_cpu": backward}}}


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "epochs", "count"),
    [
        pytest.param("profiler-hotspot", [shares(conv1=15, fc1=45, fc2=10)], 1, id="guide's hotspot"),
        pytest.param("profiler-hotspot", [shares(a=40, b=30, c=30)], 0, id="forty percent is allowed"),
        pytest.param("profiler-hotspot", [shares(a=60, b=5, c=5), shares(a=10, b=5, c=5)], 0, id="once only"),
        pytest.param("profiler-hotspot", [{"per_layer": [{"name": "a"}]}], 0, id="no share"),
        pytest.param("backward-dominance", [passes(25, 60)], 1, id="guide's backward pass"),
        pytest.param("backward-dominance", [passes(40, 40)], 0, id="guide's normal step"),
        pytest.param("backward-dominance", [passes(None, None)], 0, id="not measured"),
        pytest.param("fwd-bwd-ratio", [{"fwd_bwd_ratio": 0.1}], 1, id="ten times"),
        pytest.param("fwd-bwd-ratio", [{"fwd_bwd_ratio": 0.15}], 0, id="at the limit"),
        pytest.param("fwd-bwd-ratio", [{"fwd_bwd_ratio": 0.0}], 0, id="not measured"),
        pytest.param("device-underutilization", [{"total_cuda_time_ms": 0}] * 10, 1, id="cpu"),
        pytest.param("device-underutilization", [{"total_cuda_time_ms": 3, "total_cpu_time_ms": 500}], 0, id="gpu"),
        pytest.param("device-underutilization", [{"total_cpu_time_ms": 500}], 0, id="nobody looked"),
    ],
)
def test_profile(check_id, epochs, count, profile):
    assert len(found(check_id, profiled(*epochs), profile)) == count


@pytest.mark.parametrize(
    ("check_id", "epochs", "reason"),
    [
        pytest.param("profiler-hotspot", [shares(a=70, b=30)], "few layers", id="two layers"),
        pytest.param("backward-dominance", [passes(32, 62)], "about twice", id="normal share"),
        pytest.param("fwd-bwd-ratio", [{"fwd_bwd_ratio": ratio} for ratio in (0.1, 0.5, 0.5)], "others", id="one step"),
    ],
)
def test_is_held_back(check_id, epochs, reason):
    run = profiled(*epochs)
    assert found(check_id, run, "guide") and found(check_id, run) == []
    assert reason.rstrip("s") in held_back(check_id, run)[0]


@pytest.mark.parametrize(
    ("environment", "severity"), [({"devices": ["H200"]}, "warning"), ({"devices": []}, "info"), ({}, "info")]
)
def test_idle_gpu_is_a_warning_where_there_is_one(environment, severity):
    run = profiled({"total_cuda_time_ms": 0}, environment=environment)
    assert found("device-underutilization", run)[0].severity == severity


@pytest.mark.parametrize(
    ("environment", "seconds", "fires"),
    [({"cpus": 2}, 5, False), ({"cpus": 2}, 500, True), ({}, 5, True), ({"cpus": 2, "devices": ["H200"]}, 5, True)],
    ids=["quick", "slow", "unknown machine", "idle gpu"],
)
def test_quick_epochs_are_no_reason_for_a_gpu(environment, seconds, fires):
    rows = [{"profiler": {"total_cuda_time_ms": 0}, "duration_seconds": seconds}] * 2
    assert bool(found("device-underutilization", Run.from_epochs(rows, environment=environment))) is fires


SIZES = network(
    conv("conv1", 100), linear("fc1", 5_000), linear("fc2", 4_895), ("tokens", "Embedding", 5, {}), total=10_000
)
WIDE = network(linear("fc1", 10), ("tokens", "Embedding", 9_990, {"category": "embedding"}))
NORM = network(linear("fc1", 9_990), ("norm", "LayerNorm", 10, {"category": "normalization"}))


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "epoch", "layers"),
    [
        pytest.param("over-parameterized-layer", shares(conv1=50, fc1=5, fc2=45), ["fc1"], id="guide's figures"),
        pytest.param("over-parameterized-layer", shares(conv1=30, fc1=6, fc2=64), [], id="less than ten times"),
        pytest.param("over-parameterized-layer", shares(other=50), [], id="layers unknown"),
        pytest.param("compute-inefficient-layer", shares(conv1=20, fc1=40, fc2=40), ["conv1"], id="twenty times"),
        pytest.param("compute-inefficient-layer", shares(conv1=5, fc1=45, fc2=50), [], id="five times"),
        pytest.param("compute-inefficient-layer", shares(conv1=None), [], id="no share"),
    ],
)
def test_shares_that_do_not_match(check_id, epoch, layers, profile):
    issues = found(check_id, profiled(epoch, architecture=SIZES), profile)
    assert [issue.layer_id for issue in issues] == layers


@pytest.mark.parametrize(
    ("check_id", "epoch", "architecture", "reason"),
    [
        pytest.param("over-parameterized-layer", shares(tokens=1, fc1=99), WIDE, "look-up", id="embedding"),
        pytest.param("over-parameterized-layer", shares(conv1=0.05, fc1=50, fc2=49), SIZES, "small", id="small layer"),
        pytest.param("compute-inefficient-layer", shares(norm=15, fc1=85), NORM, "work", id="normalization"),
        pytest.param("compute-inefficient-layer", shares(tokens=1, fc1=50, fc2=49), SIZES, "little", id="little work"),
    ],
)
def test_shares_by_nature_are_held_back(check_id, epoch, architecture, reason):
    run = profiled(epoch, architecture=architecture)
    assert found(check_id, run, "guide") and found(check_id, run) == []
    assert any(reason in held for held in held_back(check_id, run))
