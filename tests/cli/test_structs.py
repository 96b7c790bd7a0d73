"""Structs of the wire format give the run that the records give."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import msgspec
import numpy as np
import pytest

from diagnostics.engine import Run
from mldiag.cli.structs import EPOCH, struct_of
from observer_client import record
from observer_client.record import to_json
from tests.engine.test_packed import RUNS

KINDS = [each for each in vars(record).values() if is_dataclass(each)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_has_the_fields_of_the_record(kind):
    assert struct_of(kind).__struct_fields__ == tuple(each.name for each in fields(kind))


def decoded(records):
    text = f"[{','.join(map(to_json, records))}]"
    return Run.from_epochs(msgspec.json.decode(text, type=list[EPOCH], strict=False))


@pytest.mark.parametrize("records", RUNS.values(), ids=RUNS)
def test_gives_the_same_run(records):
    ours, theirs = decoded(records), Run.from_epochs(records)
    assert ours.names == theirs.names and ours.layers == theirs.layers
    for name in ours.names:
        np.testing.assert_array_equal(ours.column(name).values, theirs.column(name).values)
        np.testing.assert_array_equal(ours.column(name).seen, theirs.column(name).seen)
    for field in theirs.cells.fields:
        np.testing.assert_array_equal(ours.layer_matrix(field).values, theirs.layer_matrix(field).values)
        np.testing.assert_array_equal(ours.layer_matrix(field).seen, theirs.layer_matrix(field).seen)
    np.testing.assert_array_equal(ours.correlations.values, theirs.correlations.values)
    np.testing.assert_array_equal(ours.steps("loss_mean").values, theirs.steps("loss_mean").values)


@pytest.mark.parametrize(
    "text",
    ['{"epoch":"x"}', '{"loss":{}}', '{"epoch":0,"loss":[1]}', '{"epoch":0,"layer_health":{"layers":{"a":5}}}'],
    ids=["epoch is no number", "no epoch", "loss is a list", "a layer is a number"],
)
def test_refuses_what_has_another_shape(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=EPOCH, strict=False)
