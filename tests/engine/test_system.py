"""The machine."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, held_back, run_with


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("cpu", "epochs"),
    [
        pytest.param([95], [[0]], id="saturated"),
        pytest.param([90], [], id="exactly ninety"),
        pytest.param([50, 60], [], id="idle"),
        pytest.param([95, 20, 96], [[0, 2]], id="twice is one issue"),
    ],
)
def test_high_cpu(cpu, epochs, profile):
    assert [issue.evidence["epochs"] for issue in found("high-cpu", run_with(cpu=cpu), profile)] == epochs


@pytest.mark.parametrize(("gpu", "fires"), [(80, False), (5, True)], ids=["gpu at work", "gpu idle"])
def test_busy_gpu_needs_a_busy_cpu(gpu, fires):
    run = run_with(cpu=[95], gpu=[gpu])
    assert bool(found("high-cpu", run)) is fires
    assert bool(held_back("high-cpu", run)) is not fires


@pytest.mark.parametrize(
    ("environment", "fires"),
    [({"cpus": 2, "torch": "2.9"}, False), ({"cpus": 2, "devices": ["H200"]}, True), ({}, True)],
    ids=["no gpu", "an idle one", "unknown"],
)
def test_a_machine_without_gpu_may_be_busy(environment, fires):
    run = Run.from_epochs([{"system": {"cpu_percent": 99}}], environment=environment)
    assert bool(found("high-cpu", run)) is fires and bool(found("high-cpu", run, "guide"))
