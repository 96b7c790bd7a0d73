"""Emissions."""

from __future__ import annotations

import pytest

from tests.engine.test_guide_examples import EARLY_STOP
from tests.engine.tools import BOTH, found, held_back, run_with


@pytest.mark.parametrize("profile", BOTH)
def test_footprint(profile):
    (issue,) = found("high-carbon-intensity", run_with(co2=[0.00235] * 10, seconds=[60] * 10), profile)
    assert "23.5 g CO2 over 10 epochs" in issue.description and issue.severity == "info"


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("co2", [[], [0.0, 0.0], [None, None], ["nan"]], ids=repr)
def test_no_footprint(co2, profile):
    assert found("high-carbon-intensity", run_with(co2=co2), profile) == []


def test_small_footprint_is_held_back():
    run = run_with(co2=[1e-6] * 10, seconds=[1] * 10)
    assert found("high-carbon-intensity", run, "guide") and "hardly" in held_back("high-carbon-intensity", run)[0]


def test_wasteful_epoch_is_named():
    run = run_with(co2=[1e-6] * 9 + [5e-6], seconds=[1] * 10)
    assert found("high-carbon-intensity", run)[0].evidence["epochs"] == [9]


def test_long_epoch_is_not_wasteful():
    assert found("high-carbon-intensity", run_with(co2=[1e-6] * 9 + [5e-6], seconds=[1] * 9 + [5])) == []


@pytest.mark.parametrize("profile", BOTH)
def test_wasted_carbon(profile):
    (issue,) = found("wasted-carbon", run_with(train=EARLY_STOP, co2=[0.001] * 11), profile)
    assert issue.epoch_index == 5 and issue.metric_value == pytest.approx(0.005)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("train", "co2"),
    [([3.0, 2.0, 1.0], [0.001] * 3), (EARLY_STOP, [0.0] * 11), (EARLY_STOP, [0.001] * 6 + [None] * 5)],
    ids=["still improving", "no emissions", "none after the stop"],
)
def test_no_carbon_was_wasted(train, co2, profile):
    assert found("wasted-carbon", run_with(train=train, co2=co2), profile) == []


def test_steady_progress_wastes_nothing():
    run = run_with(train=[10.0 - 0.2 * epoch for epoch in range(40)], co2=[0.001] * 40)
    assert found("wasted-carbon", run, "guide") and found("wasted-carbon", run) == []
