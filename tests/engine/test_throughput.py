"""The speed of training."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.tools import BOTH, epochs_hit, found, held_back, run_with

STEADY = [1000, 1010, 990, 1005, 995, 1000, 1002, 998, 1001, 999]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        pytest.param([1000, 750], [1], id="guide's figures"),
        pytest.param([1000, 800], [], id="exactly a fifth"),
        pytest.param([750, 1000], [], id="faster"),
        pytest.param([1000, None, None], [], id="not logged"),
        pytest.param(STEADY, [], id="steady"),
        pytest.param([*STEADY, 700, 690, 705], [10], id="sustained"),
    ],
)
def test_throughput_degradation(speed, expected, profile):
    assert epochs_hit(found("throughput-degradation", run_with(speed=speed), profile)) == expected


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"speed": [*STEADY, 700, 1000]}, "ends at", id="one slow epoch"),
        pytest.param({"speed": [2000, *STEADY]}, "ends at", id="one lucky epoch"),
        pytest.param({"speed": [1000, 600, 1100, 700, 1200, 650, 900, 640]}, "jitter", id="jitter"),
        pytest.param({"speed": [1000, 700], "seconds": [0.03, 0.04]}, "less than a second", id="tiny epochs"),
    ],
)
def test_drop_is_held_back(columns, reason):
    run = run_with(**columns)
    assert reason in held_back("throughput-degradation", run)[0]
    assert found("throughput-degradation", run) == [] and found("throughput-degradation", run, "guide")


@pytest.mark.parametrize(("end", "severity"), [(700, "info"), (200, "warning")])
def test_drop_of_quick_epochs(end, severity):
    (issue,) = found("throughput-degradation", run_with(speed=[*STEADY * 15, *[end] * 150], seconds=[0.9] * 300))
    assert issue.severity == severity


@pytest.mark.parametrize(("seconds", "severity"), [(2, "info"), (200, "warning"), (None, "warning")])
def test_a_slowdown_that_cost_little_is_information(seconds, severity):
    run = run_with(speed=[*STEADY, *[500] * 5], seconds=[seconds] * (len(STEADY) + 5))
    assert [issue.severity for issue in found("throughput-degradation", run)] == [severity]


@pytest.mark.parametrize(
    ("seconds", "guide", "robust"),
    [
        pytest.param([10] * 7 + [18] + [10] * 2, [7], [7], id="guide's figures"),
        pytest.param([10] * 7 + [15] + [10] * 2, [], [], id="exactly one and a half"),
        pytest.param([30] + [10] * 9, [0], [], id="the first compiles"),
        pytest.param([10, 10, 18], [2], [], id="too few to know"),
        pytest.param([10, 14, 6, 17, 8, 12, 19, 9, 7, 11], [3, 6], [], id="jitter"),
        pytest.param([10] * 5, [], [], id="steady"),
    ],
)
def test_slow_epoch(seconds, guide, robust):
    run = run_with(seconds=seconds)
    assert [issue.evidence["epochs"] for issue in found("slow-epoch", run, "guide")] == ([guide] if guide else [])
    assert epochs_hit(found("slow-epoch", run)) == robust


def test_heavy_tailed_durations_are_seldom_slow():
    hit = 0
    for seed in range(60):
        seconds = 60 * (1 + 0.05 * np.abs(np.random.default_rng(seed).standard_t(4, 20)))
        hit += bool(found("slow-epoch", run_with(seconds=seconds.tolist())))
    assert hit <= 2
