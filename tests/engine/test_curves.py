"""The numerics that checks share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine.curves import median, noise, quantile, ratio, rise_p_value, robust_sigma, slope, smooth


def array(*values):
    return np.array(values, dtype=np.float64)


def test_ratio_is_nan_where_there_is_none():
    found = ratio(array(1, 1, 1, np.nan), array(2, 0, -1, 1))
    assert found[0] == 0.5 and np.isnan(found[1:]).all()


def test_robust_sigma_ignores_outliers():
    values = np.random.default_rng(0).normal(size=500)
    values[:100] = 1e6
    assert robust_sigma(values) == pytest.approx(1.0, rel=0.5)


@pytest.mark.parametrize("curve", [0, 1], ids=["flat", "decay"])
def test_noise_ignores_the_curve(curve):
    at = np.arange(300)
    values = curve * 5 * np.exp(-at / 30) + 0.1 * np.random.default_rng(1).normal(size=300)
    assert noise(values) == pytest.approx(0.1, rel=0.25)


def test_noise_of_a_short_series_is_unknown():
    assert noise(array(1, 5, 2, 9)) == 0.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), ()), ((1,), (1,)), ((1, 3), (1, 3)), ((1, 9, 2, 3), (5, 2, 3, 2.5))],
    ids=["empty", "one", "two", "four"],
)
def test_smooth(values, expected):
    assert smooth(array(*values)).tolist() == list(expected)


@pytest.mark.parametrize("length", [3, 50, 2000])
def test_slope_ignores_outliers(length):
    values = 0.5 * np.arange(length)
    values[1] = 1e9 if length > 3 else values[1]
    assert slope(values) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        pytest.param(np.arange(10.0), 0, 1e-3, id="rising"),
        pytest.param(-np.arange(10.0), 1, 1, id="falling"),
        pytest.param(np.ones(10), 1, 1, id="level"),
        pytest.param(np.arange(3.0), 1, 1, id="too short"),
        pytest.param(np.arange(3000.0), 0, 1e-9, id="long"),
    ],
)
def test_rise_p_value(values, low, high):
    assert low <= rise_p_value(values) <= high


def test_rise_p_value_keeps_its_level_on_noise():
    rng = np.random.default_rng(2)
    assert np.mean([rise_p_value(rng.normal(size=30)) < 0.05 for _ in range(400)]) < 0.09


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10, 499, 501, 1000])
def test_quick_median_and_quantile_are_those_of_numpy(size):
    values = np.random.default_rng(size).normal(size=size)
    assert median(values) == np.median(values)
    assert [quantile(values, share) for share in (0.0, 0.31, 0.6827, 1.0)] == pytest.approx(
        np.quantile(values, [0.0, 0.31, 0.6827, 1.0]), rel=1e-15, abs=1e-15
    )


def test_median_of_nothing_is_not_a_number():
    assert math.isnan(median(np.array([])))


@pytest.mark.parametrize("size", [1, 2, 7, 500, 501, 1000])
@pytest.mark.parametrize("odd", [0.0, math.nan, math.inf], ids=["finite", "nan", "infinite"])
def test_median_is_that_of_numpy(size, odd):
    values = np.random.default_rng(size).normal(size=size)
    values[size // 3] = odd
    assert median(values) == pytest.approx(np.median(values), rel=0, abs=0, nan_ok=True)
