"""Packed epochs and records give the same run, cell for cell."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diagnostics.engine import Run, diagnose
from observer_client.packed import pack
from observer_client.record import (
    Carbon,
    Epoch,
    LayerCorrelation,
    LayerHealth,
    LayerStats,
    LayerTime,
    Loss,
    OperationShare,
    Profile,
    Steps,
    plain,
)
from observer_client.signal_records import ClassCounts, DataFigures

NAN, INF = math.nan, math.inf


def full(number, **changes):
    base = Epoch(
        epoch=number,
        duration_seconds=12.5,
        loss=Loss(train_mean=1.0 / (number + 1), train_std=NAN, train_max=INF, val={"val_loss": 0.5, "val_acc": None}),
        layer_health=LayerHealth(
            layers={
                "fc1": LayerStats(gradient_norm_mean=1e-9, weight_sparsity=NAN, is_dead=False),
                "fc2": LayerStats(gradient_norm_mean=1e300, is_dead=True),
            },
            correlations=[LayerCorrelation(layer_a="fc1", layer_b="fc2", correlation=0.97)],
        ),
        profiler=Profile(
            fwd_bwd_ratio=0.3,
            per_layer=[LayerTime(name="fc1", pct_total=20.5), LayerTime(name="fc2")],
            operation_categories={"forward_pass": OperationShare(pct_cpu=30.0)},
        ),
        carbon_emissions=Carbon(epoch_co2_kg=1e-5, estimated=True),
        steps=Steps(first=[0, 10], count=[10, 10], loss_mean=[1.0, None], loss_max=[-INF, NAN]),
        data=DataFigures(input_mean=NAN, overlap_share=0.25),
        classes={"val": ClassCounts(support=[30, 20], predicted=[50, 0], correct=[30, 0])},
    )
    return replace(base, **changes)


RUNS = {
    "nothing": [],
    "one layout": [full(0), full(1), full(2)],
    "an epoch with nothing": [full(0), Epoch(epoch=1), full(2)],
    "losses only": [Epoch(epoch=0, loss=Loss(train_mean=NAN)), Epoch(epoch=1, loss=Loss(train_mean=1.0))],
    "other layers later": [full(0), full(1, layer_health=LayerHealth(layers={"new": LayerStats(weight_norm=2.0)}))],
    "layers without figures": [Epoch(epoch=0, layer_health=LayerHealth(layers={"fc1": LayerStats()}))],
    "unsorted": [full(5), full(2, duration_seconds=None), full(9)],
    "a repeated epoch": [full(0), full(1, attempt=1, duration_seconds=1.0), full(1, duration_seconds=2.0), full(2)],
    "uneven series": [full(0), full(1, steps=Steps(first=[20], loss_mean=[3.0])), full(2, steps=None)],
}


def same(left, right):
    assert left.labels == right.labels if hasattr(left, "labels") else True
    np.testing.assert_array_equal(left.seen, right.seen)
    np.testing.assert_array_equal(left.values, right.values)
    assert left.values.dtype == right.values.dtype or not left.values.size


@pytest.mark.parametrize("epochs", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("form", [lambda epoch: epoch, plain], ids=["records", "dicts"])
def test_packed_equals(epochs, form):
    packed, read = Run.from_packed([pack(each) for each in epochs]), Run.from_epochs([form(each) for each in epochs])
    np.testing.assert_array_equal(packed.epochs, read.epochs)
    assert packed.names == read.names
    for name in packed.names:
        same(packed.column(name), read.column(name))
    assert set(packed.layers) == set(read.layers) and set(packed.cells.fields) == set(read.cells.fields)
    for name in packed.cells.fields:
        same(packed.layer_matrix(name), read.layer_matrix(name))
    same(packed.profiled, read.profiled)
    same(packed.correlated, read.correlated)
    for name in packed.series:
        same(packed.steps(name), read.steps(name))


@pytest.mark.parametrize("epochs", RUNS.values(), ids=RUNS)
def test_packed_is_judged_alike(epochs):
    packed, read = Run.from_packed([pack(each) for each in epochs]), Run.from_epochs(epochs)
    assert diagnose(packed).as_dict() == diagnose(read).as_dict()


def test_logged_nan_is_not_absence():
    run = Run.from_packed([pack(full(0)), pack(Epoch(epoch=1))])
    column = run.column("loss.train_std")
    assert column.seen.tolist() == [True, False] and np.isnan(column.values).all()


def test_later_attempt_wins_in_either_order():
    early, late = full(1, duration_seconds=2.0), full(1, attempt=1, duration_seconds=1.0)
    for blobs in ([pack(early), pack(late)], [pack(late), pack(early)]):
        assert Run.from_packed(blobs).column("duration_seconds").values.tolist() == [1.0]


@pytest.mark.parametrize(
    "blob", [b"", b"junk", pack(full(0))[:-1], pack(full(0)) + b"\0"], ids=["empty", "junk", "cut off", "too long"]
)
def test_refuses_what_is_no_packed_epoch(blob):
    with pytest.raises(ValueError, match="packed epoch"):
        Run.from_packed([blob])
