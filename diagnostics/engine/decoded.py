"""Reads epochs that a typed decoder has made: structs with the fields of the wire format, which hold what they say.

`reading` asks of each value what it is, since a dict may hold anything; a decoder has asked already, so whole rows are
taken at once. The structs are msgspec's, and who has one has msgspec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any

from diagnostics.engine.reading import FIXED, Reading
from observer_client.packed import SERIES
from observer_client.record import Epoch, OperationShare

_FIELDS = tuple(each.name for each in fields(Epoch))
_SHARES = tuple(each.name for each in fields(OperationShare))


def is_decoded(epoch: Any) -> bool:
    """Return whether ``epoch`` is a struct with the fields of `Epoch`."""
    return getattr(epoch, "__struct_fields__", None) == _FIELDS


def read_decoded(epoch: Any) -> Reading:
    """Return what such a struct says."""
    health, profiler = epoch.layer_health, epoch.profiler
    layers = health.layers if health else {}
    return Reading(
        number=epoch.epoch,
        fixed=_fixed(epoch),
        named=dict(_named(epoch)) if epoch.loss or profiler else {},
        layers=dict(zip(layers, map(_row_of(), layers.values()), strict=True)) if layers else {},
        profiled={row.name: row.pct_total for row in profiler.per_layer if row.pct_total is not None}
        if profiler
        else {},
        correlations={
            (row.layer_a, row.layer_b): row.correlation for row in health.correlations if row.correlation is not None
        }
        if health
        else {},
        series={name: values for name in SERIES if (values := getattr(epoch.steps, name))} if epoch.steps else {},
    )


@cache
def _row_of() -> Callable[[Any], tuple[Any, ...]]:
    # Not at the top: the engine can do without msgspec.
    from msgspec.structs import astuple

    return astuple


def _groups() -> list[tuple[str, Callable[[Any], tuple[Any, ...]], tuple[None, ...]]]:
    """Return, for each part of an epoch, what takes its columns of `FIXED`, and as many times nothing."""
    own: dict[str, list[str]] = {}
    for name in FIXED:
        group, _, field = name.rpartition(".")
        own.setdefault(group, []).append(field)
    return [(group, attrgetter(*names), (None,) * len(names)) for group, names in own.items()]


_GROUPS = _groups()


def _fixed(epoch: Any) -> list[Any]:
    found: list[Any] = []
    for group, take_all, nothing in _GROUPS:
        record = getattr(epoch, group) if group else epoch
        found += nothing if record is None else take_all(record)
    return found


def _named(epoch: Any) -> list[tuple[str, float]]:
    found = [(f"loss.val.{name}", value) for name, value in epoch.loss.val.items()] if epoch.loss else []
    for category, share in epoch.profiler.operation_categories.items() if epoch.profiler else ():
        found += [(f"profiler.operation_categories.{category}.{own}", getattr(share, own)) for own in _SHARES]
    return [(name, value) for name, value in found if value is not None]
