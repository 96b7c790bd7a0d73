"""How much of the GPU is used."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, epochs_hit, found, held_back


def loaded(*loads, seconds=60.0):
    return Run.from_epochs([{"duration_seconds": seconds, "system": {"gpu_percent": load}} for load in loads])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("loads", [[12.0], [90.0, 5.0, 10.0, 8.0], [0.0, None, 0.0]], ids=str)
def test_idle(loads, profile):
    (issue,) = found("gpu-underutilized", loaded(*loads), profile)
    assert str(issue.severity) == "warning"


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("loads", [[30.0], [95.0, 99.0], [10.0, 95.0, 97.0], [None]], ids=str)
def test_at_work(loads, profile):
    assert found("gpu-underutilized", loaded(*loads), profile) == []


def test_seconds_say_little():
    run = loaded(5.0, 5.0, seconds=2.0)
    assert found("gpu-underutilized", run) == [] and "say little" in held_back("gpu-underutilized", run)[0]


def filled(*peaks, total=1000.0, **more):
    return Run.from_epochs([{"memory": {"gpu_peak_mb": peak, "gpu_total_mb": total} | more} for peak in peaks])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("run", "epochs", "words"),
    [
        pytest.param(filled(500.0, 950.0), [1], "95% of it", id="almost full"),
        pytest.param(filled(300.0, gpu_used_mb=990.0), [0], "99% of it", id="full by others"),
        pytest.param(filled(*range(400, 800, 50)), [7], "full in 5 epochs", id="filling"),
    ],
)
def test_pressure(run, epochs, words, profile):
    (issue,) = found("gpu-memory-pressure", run, profile)
    assert epochs_hit([issue]) == epochs and words in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(filled(900.0, 920.0), id="at the limit"),
        pytest.param(filled(*[700.0] * 8), id="steady"),
        pytest.param(filled(*range(100, 180, 10)), id="filling from far below"),
        pytest.param(filled(*range(600, 608)), id="filling slowly"),
        pytest.param(filled(500.0, total=0.0), id="no device"),
    ],
)
def test_no_pressure(run, profile):
    assert found("gpu-memory-pressure", run, profile) == []
