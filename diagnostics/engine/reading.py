"""Reads one epoch, as a record or as a dict of any absurdity, into named numbers.

Whatever is no number is "not logged": a check that finds nothing to look at says so, and nothing raises.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from observer_client.packed import CLASS_SERIES, LAYER_FIELDS, SCALARS, SERIES
from observer_client.record import LayerStats, LogLine, OperationShare

_LARGEST = sys.float_info.max
_MAX_EPOCH = 2**53
_STATISTICS: Callable[[Any], tuple[Any, ...]] = attrgetter(*LAYER_FIELDS)
_SHARES = tuple(each.name for each in fields(OperationShare))


def _grouped(names: Iterable[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        group, _, own = name.rpartition(".")
        groups.setdefault(group, []).append((name, own))
    return {group: tuple(pairs) for group, pairs in groups.items()}


_GROUPS = _grouped(name for name in SCALARS if name not in ("epoch", "attempt"))
FIXED = ("attempt", *(name for names in _GROUPS.values() for name, _ in names))
"""The scalar columns of the wire format, in the order of `Reading.fixed`."""


@dataclass(slots=True)
class Reading:
    """What one epoch says. ``layers`` holds the raw statistics by layer, a row of `LAYER_FIELDS` each."""

    number: int | None
    """None if the epoch does not say which one it is."""
    fixed: list[float | None]
    """What stands in the columns of `FIXED`."""
    named: dict[str, float]
    """The scalar columns whose names are the run's own."""
    layers: dict[str, tuple[Any, ...]]
    profiled: dict[str, float]
    correlations: dict[tuple[str, str], float]
    series: dict[str, list[float | None]]

    @property
    def layout(self) -> Hashable:
        """Equal for epochs whose numbers may be stacked."""
        lengths = tuple((name, len(values)) for name, values in self.series.items())
        return tuple(self.layers), tuple(self.profiled), tuple(self.correlations), lengths


def number(value: Any) -> float | None:
    """Return ``value`` as a float, or None if it is no number. Text may spell one ("nan", "-inf", "0.5")."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return float(value) if abs(value) < _MAX_EPOCH else _large(value)
    if isinstance(value, str):
        return _spelled(value)
    if isinstance(value, (np.generic, np.ndarray)):
        return number(value.item()) if value.size == 1 else None
    if hasattr(value, "numel") and hasattr(value, "item"):
        return number(value.item()) if value.numel() == 1 else None
    return None


def _large(value: int) -> float:
    # A finite number must not turn into an infinity that nobody logged.
    return float(max(-int(_LARGEST), min(int(_LARGEST), value)))


def _spelled(text: str) -> float | None:
    if len(text) > 40:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def integer(value: Any) -> int | None:
    """Return ``value`` if it is a whole number that an index can hold, else None."""
    found = number(value)
    if found is None or not math.isfinite(found) or abs(found) > _MAX_EPOCH or found != int(found):
        return None
    return int(found)


def get(record: Any, name: str) -> Any:
    """Return an entry of a mapping or a field of a record, None if there is none."""
    return finder(record)(name)


def finder(record: Any) -> Callable[[str], Any]:
    """Return `get` for many names of one record: what it is needs to be found out once."""
    if isinstance(record, Mapping):
        return record.get
    if is_dataclass(record):
        return lambda name: getattr(record, name, None)
    return lambda name: None


def entries(value: Any) -> Iterator[Any]:
    """Yield the items of a sequence that is no text, and nothing for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        yield from value


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of a mapping with their keys as text, and nothing for anything else."""
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())


def read_epoch(epoch: Any) -> Reading | None:
    """Return what ``epoch`` says, or None if it is neither a mapping nor a record."""
    if not isinstance(epoch, Mapping) and not is_dataclass(epoch):
        return None
    health = get(epoch, "layer_health")
    profiler = get(epoch, "profiler")
    return Reading(
        number=integer(get(epoch, "epoch")),
        fixed=list(_fixed(epoch)),
        named=dict(_named(epoch, profiler)),
        layers={name: _statistics(stats) for name, stats in pairs(get(health, "layers"))},
        profiled=dict(_profiled(profiler)),
        correlations=dict(_correlations(health)),
        series=dict(_series(get(epoch, "steps"))) | dict(_counts(get(epoch, "classes"))),
    )


def _fixed(epoch: Any) -> Iterator[float | None]:
    yield float(integer(get(epoch, "attempt")) or 0)
    for group, names in _GROUPS.items():
        record = get(epoch, group) if group else epoch
        find = finder(record)
        for _, own in names:
            value = find(own)
            yield None if value is None else number(value)


def _named(epoch: Any, profiler: Any) -> Iterator[tuple[str, float]]:
    for name, metric in pairs(get(get(epoch, "loss"), "val")):
        if (value := number(metric)) is not None:
            yield f"loss.val.{name}", value
    for category, share in pairs(get(profiler, "operation_categories")):
        for own in _SHARES:
            if (value := number(get(share, own))) is not None:
                yield f"profiler.operation_categories.{category}.{own}", value


def _statistics(stats: Any) -> tuple[Any, ...]:
    if isinstance(stats, LayerStats):
        # The ordinary case, thousands of times a run.
        return _STATISTICS(stats)
    if isinstance(stats, Mapping):
        return tuple(stats.get(name) for name in LAYER_FIELDS)
    return tuple(getattr(stats, name, None) for name in LAYER_FIELDS)


def _profiled(profiler: Any) -> Iterator[tuple[str, float]]:
    for row in entries(get(profiler, "per_layer")):
        if (value := number(get(row, "pct_total"))) is not None:
            yield str(get(row, "name")), value


def _correlations(health: Any) -> Iterator[tuple[tuple[str, str], float]]:
    for row in entries(get(health, "correlations")):
        if (value := number(get(row, "correlation"))) is not None:
            yield (str(get(row, "layer_a")), str(get(row, "layer_b"))), value


def _series(steps: Any) -> Iterator[tuple[str, list[float | None]]]:
    for name in SERIES:
        if values := [number(value) for value in entries(get(steps, name))]:
            yield name, values


def _counts(classes: Any) -> Iterator[tuple[str, list[float | None]]]:
    if isinstance(classes, Mapping) and classes:
        for name, split, own in CLASS_SERIES:
            if values := [number(value) for value in entries(get(classes.get(split), own))]:
                yield name, values


def read_logs(logs: Any) -> tuple[LogLine, ...]:
    """Return log lines from records or dicts; what is neither is left out."""
    return tuple(_line(line) for line in entries(logs) if isinstance(line, (Mapping, LogLine)))


def _line(line: Any) -> LogLine:
    if isinstance(line, LogLine):
        return line
    text = {name: str(get(line, name)) for name in ("msg", "ts", "level", "kind") if get(line, name) is not None}
    return LogLine(
        msg=text.get("msg", ""),
        ts=text.get("ts"),
        level=text.get("level", "INFO"),
        kind=text.get("kind", "console"),
        seq=integer(get(line, "seq")),
    )
