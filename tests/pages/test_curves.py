"""Curves as data and as drawings: axes, thinning, gaps, scales."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import Run
from diagnostics.services import charts, plot
from diagnostics.services.plots import Chart, Plot
from diagnostics.templatetags.curves import curve, small_curve

LOSS = Chart("loss", "Loss", (("loss.train_mean", "train loss"), ("loss.val.val_loss", "val loss")))


def a_plot(train, val=None):
    columns = [("train loss", np.array(train, float))] + ([("val loss", np.array(val, float))] if val else [])
    x = np.arange(len(train), dtype=float)
    broken = ~np.isfinite(columns[0][1])
    return Plot(LOSS, "epoch", x, x.astype(int), tuple(columns), broken)


def a_run(number, **fields):
    """``number`` epochs of four batches and two seconds each, with a step series."""
    steps = {"loss_mean": [3.0, 2.0], "loss_min": [2.0, 1.0], "loss_max": [4.0, 3.0], "count": [2, 2]}
    return Run.from_epochs(
        [
            {
                "epoch": epoch,
                "duration_seconds": 2.0,
                "loss": {"train_mean": 1.0 / (epoch + 1), "n_batches": 4, "val": {"val_loss": 2.0, "val_acc": 0.5}},
                "steps": steps | {"first": [4 * epoch, 4 * epoch + 2]},
                "carbon_emissions": {"epoch_co2_kg": 0.5},
                **fields,
            }
            for epoch in range(number)
        ]
    )


def test_offers_the_charts_that_something_was_logged_for():
    assert [chart.key for chart in charts(a_run(2))] == ["loss", "loss.val.val_acc", "time", "carbon"]


@pytest.mark.parametrize("run", [Run.from_epochs([]), Run.from_epochs([{"epoch": 1}])], ids=["no epoch", "no number"])
def test_offers_nothing_where_nothing_was_logged(run):
    assert charts(run) == []


@pytest.mark.parametrize(
    ("axis", "places"),
    [("epoch", [0, 1, 2]), ("time", [2, 4, 6]), ("step", [0, 2, 4, 6, 8, 10, 12])],
)
def test_draws_over_each_axis(axis, places):
    found = plot(a_run(3), LOSS, axis)
    assert (found.axis, found.x.tolist()) == (axis, places)


def test_over_the_steps_the_loss_is_finer_than_the_validation():
    series = plot(a_run(3), LOSS, "step").as_dict()["series"]
    assert series["train loss"] == [3, 2, 3, 2, 3, 2, None]
    assert series["val loss"] == [None, None, 2, None, 2, None, 2]


@pytest.mark.parametrize("axis", ["step", "time"])
def test_draws_over_the_epochs_where_nothing_else_was_logged(axis):
    run = Run.from_epochs([{"epoch": epoch, "loss": {"train_mean": 1.0}} for epoch in range(3)])
    assert plot(run, LOSS, axis).axis == "epoch"


def test_sums_the_emissions_up():
    run = a_run(3)
    assert plot(run, charts(run)[-1]).as_dict()["series"] == {"CO₂": [0.5, 1.0, 1.5]}


def test_what_is_not_finite_is_told_apart_from_what_was_not_logged():
    losses = [1.0, math.nan, None, math.inf]
    run = Run.from_epochs([{"epoch": at, "loss": {"train_mean": loss}} for at, loss in enumerate(losses)])
    found = plot(run, LOSS).as_dict()
    assert found["series"]["train loss"] == [1.0, None, None, None]
    assert found["non_finite"] == [1, 3]


def test_thinning_keeps_peaks_the_first_broken_and_both_ends():
    values = [1.0] * 100_000
    values[54_321], values[777], values[99_000] = 50.0, -50.0, math.nan
    thin = a_plot(values, [2.0] * 100_000).thinned(1_000)
    assert {0, 777, 54_321, 99_000, 99_999} <= set(thin.x.tolist())
    assert thin.x.size < 5_000


@pytest.mark.parametrize("number", [1, 2, 999, 1_000])
def test_few_points_are_all_kept(number):
    assert a_plot([1.0] * number).thinned(1_000).x.size == number


def test_a_part_has_its_own_detail():
    part = a_plot(list(range(10_000))).between(500, 600).thinned(200)
    assert part.x.tolist() == list(range(500, 601))


def test_a_gap_interrupts_the_curve():
    drawn = curve(a_plot([1.0, math.nan, 0.5]))
    assert drawn["lines"][0]["path"].count("M") == 2
    assert drawn["broken"] == ["500.0"]


@pytest.mark.parametrize("value", [1e308, -1e308, 0.0])
def test_extreme_losses_are_drawn(value):
    assert "nan" not in curve(a_plot([value, 1.0, -1e308]))["lines"][0]["path"]


@pytest.mark.parametrize("drawn", [curve(a_plot([math.nan])), curve(None), small_curve(a_plot([math.inf]))])
def test_nothing_finite_is_nothing_to_draw(drawn):
    assert drawn["is_empty"]


def test_a_logarithmic_scale_leaves_out_what_is_not_positive():
    drawn = curve(a_plot([100.0, 1.0, -5.0]), is_logarithmic=True)
    assert (drawn["low"], drawn["high"]) == (1.0, 100.0)
    assert drawn["is_logarithmic"]


def test_without_positive_values_the_scale_stays_as_it_is():
    assert not curve(a_plot([-1.0, -2.0]), is_logarithmic=True)["is_logarithmic"]


def test_the_last_of_a_small_curve_may_be_nan():
    line = small_curve(a_plot([1.0, math.nan]))["lines"][0]
    assert line["is_broken_last"]
