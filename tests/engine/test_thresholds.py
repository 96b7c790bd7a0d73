"""Thresholds: names, defaults, refusals."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from diagnostics.engine import DiagnosticThresholds, grouped_thresholds


def test_defaults_of_the_guide():
    limits = DiagnosticThresholds()
    assert (limits.loss_explosion_ratio, limits.loss_plateau_improvement, limits.overfitting_epochs) == (2.0, 0.01, 2)
    assert (limits.diminishing_returns_pct, limits.dead_neuron_sparsity) == (0.05, 0.5)
    assert limits.vanishing_gradient_threshold == 1e-7
    assert (limits.memory_growth_pct, limits.throughput_drop_pct) == (0.25, 0.20)


@pytest.mark.parametrize("each", fields(DiagnosticThresholds), ids=lambda each: each.name)
def test_every_number_is_explained(each):
    assert each.metadata["unit"] and each.metadata["reason"].endswith(".")


def test_overrides_from_json():
    limits = DiagnosticThresholds.from_mapping({"loss_explosion_ratio": 3, "overfitting_epochs": 3.0})
    assert (limits.loss_explosion_ratio, limits.overfitting_epochs) == (3.0, 3)
    assert isinstance(limits.overfitting_epochs, int)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss_explosion": 3, "b": 1}, "unknown threshold: b, loss_explosion"),
        ({"loss_explosion_ratio": "3"}, "loss_explosion_ratio must be a number"),
        ({"loss_explosion_ratio": True}, "must be a number"),
        ({"loss_explosion_ratio": None}, "must be a number"),
        ({"loss_explosion_ratio": math.nan}, "must be finite"),
        ({"loss_explosion_ratio": -1}, "must be 0 or more"),
        ({"throughput_drop_pct": 20}, "must be between 0 and 1"),
        ({"overfitting_epochs": 1.5}, "whole number of epochs"),
        ({"overfitting_epochs": 0}, "must be 1 or more"),
        ([], "must be an object"),
    ],
    ids=repr,
)
def test_refuses(overrides, message):
    with pytest.raises(ValueError, match=message):
        DiagnosticThresholds.from_mapping(overrides)


def test_every_threshold_is_in_one_group():
    names = [each.name for group in grouped_thresholds().values() for each in group]
    assert names == [each.name for each in fields(DiagnosticThresholds)]
    assert "" not in grouped_thresholds() and len(grouped_thresholds()) > 10
