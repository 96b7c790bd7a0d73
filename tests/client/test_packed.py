from __future__ import annotations

import math
import struct

import pytest

from observer_client.packed import MAGIC, open_packed, pack
from observer_client.record import Epoch, LayerHealth, LayerStats, LayerTime, Loss, Profile, Steps


def unpack(blob):
    """Scalars by name, the layer matrix by (field, layer), and the numbers behind it."""
    layout, start = open_packed(blob)
    scalars = struct.unpack_from(f"<{len(layout.scalars)}d", blob, start)
    size = len(layout.fields) * len(layout.layers)
    cells = struct.unpack_from(f"<{size}f", blob, start + layout.matrix_offset)
    tail = [each[0] for each in struct.iter_unpack("<f", blob[start + layout.tail_offset :])]
    names = [(field, layer) for field in layout.fields for layer in layout.layers]
    matrix = {
        name: None if index in layout.missing else cell
        for index, (name, cell) in enumerate(zip(names, cells, strict=True))
    }
    return dict(zip(layout.scalars, scalars, strict=True)), matrix, tail


def test_scalars_come_back():
    scalars, *_ = unpack(pack(Epoch(epoch=3, loss=Loss(train_mean=0.5, val={"val_acc": 0.9, "auc": None}))))
    assert scalars == {"epoch": 3, "attempt": 0, "loss.train_mean": 0.5, "loss.val.val_acc": 0.9}


def test_nan_stays_apart_from_not_logged():
    layers = {"conv": LayerStats(weight_norm=math.nan, update_ratio=1.5), "fc": LayerStats(weight_norm=2.0)}
    _, matrix, _ = unpack(pack(Epoch(epoch=0, layer_health=LayerHealth(layers=layers))))
    assert math.isnan(matrix["weight_norm", "conv"])
    assert (matrix["update_ratio", "conv"], matrix["update_ratio", "fc"]) == (1.5, None)


def test_series_and_profile_follow():
    profile = Profile(per_layer=[LayerTime(name="fc", pct_total=40.0), LayerTime(name="relu")])
    blob = pack(Epoch(epoch=0, profiler=profile, steps=Steps(first=[0, 5], loss_mean=[1.0, None])))
    layout, _ = open_packed(blob)
    *_, tail = unpack(blob)
    assert (layout.profiled, dict(layout.series)) == (("fc",), {"first": 2, "loss_mean": 2})
    assert tail[:4] == [40.0, 0.0, 5.0, 1.0]
    assert layout.gaps == (4,)


def test_a_large_number_is_no_infinity():
    layers = {"fc": LayerStats(weight_norm=1e300, update_ratio=math.inf)}
    _, matrix, _ = unpack(pack(Epoch(epoch=0, layer_health=LayerHealth(layers=layers))))
    assert math.isfinite(matrix["weight_norm", "fc"])
    assert matrix["update_ratio", "fc"] == math.inf


@pytest.mark.parametrize("blob", [b"", b"{}", b"MLD2" + bytes(8)], ids=["empty", "json", "other version"])
def test_what_is_not_packed(blob):
    with pytest.raises(ValueError, match="version 1"):
        open_packed(blob)


def test_the_version_is_in_front():
    assert pack(Epoch(epoch=0)).startswith(MAGIC)
