"""Weights that decay away."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from tests.engine.tools import found, linear, network


def decayed(*shares, norms=(1.0, 0.5), **hyperparameters):
    """Return a run of three epochs whose layers keep these shares of their first norm."""
    rows = [(norms[0],) * len(shares), (norms[1],) * len(shares), shares]
    names = [f"fc{at}" for at in range(len(shares))]
    epochs = [
        {"layer_health": {"layers": {name: {"weight_norm": norm} for name, norm in zip(names, row, strict=True)}}}
        for row in rows
    ]
    return Run.from_epochs(epochs, architecture=network(*map(linear, names)), hyperparameters=hyperparameters)


def test_weight_collapse():
    (issue,) = found("weight-collapse", decayed(1e-6, 0.02, 0.9, weight_decay=50))
    assert (issue.severity, issue.layer_id) == ("critical", "fc0") and "decay is 50" in issue.description


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(decayed(0.9, 1.4, 3.0), id="as they were"),
        pytest.param(decayed(0.3, 0.4, 0.5), id="regularized"),
        pytest.param(decayed(0.01, 0.9, 1.1), id="one layer of three"),
        pytest.param(decayed(0.0, 0.0, norms=(0.0, 0.0)), id="zero from the start"),
        pytest.param(Run.from_epochs([{"layer_health": {"layers": {"fc": {"weight_norm": 1}}}}]), id="one window"),
    ],
)
def test_silent(run):
    assert found("weight-collapse", run) == []
