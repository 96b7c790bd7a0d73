"""Memory that grows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds, Run
from tests.engine.tools import BOTH, found, held_back, run_with

LEAK = [2000 + 80 * epoch for epoch in range(12)]
WARM_UP = [2000 + 800 * (1 - math.exp(-epoch)) for epoch in range(20)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("rss", "fires"),
    [
        pytest.param([2000, 3000], True, id="guide's figures"),
        pytest.param([2000, 2500], False, id="exactly a quarter"),
        pytest.param([3000, 2000], False, id="shrinks"),
        pytest.param([0, 3000], False, id="from nothing"),
        pytest.param([2000, None], False, id="logged once"),
        pytest.param(LEAK, True, id="leak"),
    ],
)
def test_memory_growth(rss, fires, profile):
    assert bool(found("memory-growth", run_with(rss=rss), profile)) is fires


@pytest.mark.parametrize(
    ("rss", "reason"),
    [
        pytest.param([100, 180], "too little", id="a small process"),
        pytest.param(WARM_UP, "settled", id="caches fill"),
        pytest.param([2000, 3000, 2100, 2900, 2000, 3100, 2050, 2950], "no significant trend", id="jitter"),
    ],
)
def test_growth_is_held_back(rss, reason):
    run = run_with(rss=rss)
    assert reason in held_back("memory-growth", run)[0]
    assert found("memory-growth", run) == [] and found("memory-growth", run, "guide")


def test_process_and_gpu_are_two_issues():
    issues = found("memory-growth", run_with(rss=[2000, 3000], gpu_memory=[2000, 3000]))
    assert {issue.metric_key for issue in issues} == {"memory.process_rss_mb", "memory.gpu_allocated_mb"}


def test_says_when_the_memory_is_full():
    epochs = [{"memory": {"process_rss_mb": rss, "system_available_mb": 800}} for rss in LEAK]
    assert "full in about 10 epochs" in found("memory-growth", Run.from_epochs(epochs))[0].description


@pytest.mark.parametrize(
    ("told", "severity"),
    [
        pytest.param({}, "warning", id="no plan"),
        pytest.param({"epochs": 12}, "warning", id="at its end"),
        pytest.param({"epochs": 22}, "warning", id="just enough"),
        pytest.param({"num_epochs": 60}, "critical", id="full before the end"),
    ],
)
def test_a_leak_that_will_end_the_run_is_critical(told, severity):
    epochs = [{"memory": {"process_rss_mb": rss, "system_available_mb": 800}} for rss in LEAK]
    (issue,) = found("memory-growth", Run.from_epochs(epochs, hyperparameters=told))
    assert str(issue.severity) == severity


def test_noise_is_silent():
    for seed in range(60):
        rss = 2000 + 30 * np.cumsum(np.random.default_rng(seed).normal(size=25))
        assert found("memory-growth", run_with(rss=rss.tolist())) == []


def test_growth_follows_its_threshold():
    run = run_with(rss=[2000, 3000])
    assert found("memory-growth", run, limits=DiagnosticThresholds(memory_growth_pct=0.6)) == []
