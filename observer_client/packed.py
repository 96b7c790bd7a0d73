"""The numbers of one epoch as bytes: what the server keeps beside the JSON, so that no diagnosis parses it again.

Self-describing and versioned: ``MAGIC``, the length of the layout, the layout as JSON, then little-endian
numbers in the layout's order: scalars as float64, one float32 matrix (fields x layers) of layer statistics,
float32 lists for the profiler and the step series. What was not logged is absent from the layout (scalars,
series) or listed in ``missing`` (cells of a matrix), so a logged NaN stays different from no log. Epochs of one
run share their layout byte for byte, which lets a reader parse it once.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from observer_client.record import (
    Carbon,
    Epoch,
    Gradients,
    LayerStats,
    Loop,
    Loss,
    Memory,
    OperationShare,
    Profile,
    Steps,
    System,
    Throughput,
)
from observer_client.signal_records import ClassCounts, DataFigures, LossScale, Phases, Ranks

MAGIC = b"MLD1"
FLOAT32_MAX = 3.4028234663852886e38

LAYER_FIELDS = tuple(each.name for each in fields(LayerStats))
SERIES = tuple(each.name for each in fields(Steps))
CLASS_SERIES = tuple(
    (f"classes.{split}.{each.name}", split, each.name) for split in ("train", "val") for each in fields(ClassCounts)
)
"""Counts by class, kept as series: the series' name, the split and the field."""
_GROUPS: tuple[tuple[str, type[Any], frozenset[str]], ...] = (
    ("loss", Loss, frozenset({"val"})),
    ("throughput", Throughput, frozenset()),
    ("memory", Memory, frozenset()),
    ("system", System, frozenset()),
    ("gradients", Gradients, frozenset()),
    ("loop", Loop, frozenset()),
    ("profiler", Profile, frozenset({"per_layer", "operation_categories"})),
    ("carbon_emissions", Carbon, frozenset()),
    ("phases", Phases, frozenset()),
    ("data", DataFigures, frozenset()),
    ("loss_scale", LossScale, frozenset()),
    ("ranks", Ranks, frozenset({"work_seconds", "losses"})),
)
_SCALARS = tuple(
    (group, tuple(each.name for each in fields(kind) if each.name not in skipped)) for group, kind, skipped in _GROUPS
)
SCALARS = ("epoch", "attempt", "duration_seconds", "learning_rate") + tuple(
    f"{group}.{name}" for group, names in _SCALARS for name in names
)
"""Names of all scalar columns but the open-ended ones: ``loss.val.<metric>`` and
``profiler.operation_categories.<category>.<share>``."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the numbers of a packed epoch are.

    ``missing`` holds flat indexes (field * len(layers) + layer) of cells that were not logged.
    ``correlations`` names pairs of layers, ``profiled`` the layers of the profiler's ``pct_total``.
    ``series`` pairs a name of `SERIES` or `CLASS_SERIES` with its length; ``gaps`` are indexes into the tail that were
    not logged.
    """

    scalars: tuple[str, ...]
    layers: tuple[str, ...]
    fields: tuple[str, ...]
    missing: tuple[int, ...]
    profiled: tuple[str, ...]
    correlations: tuple[tuple[str, str], ...]
    series: tuple[tuple[str, int], ...]
    gaps: tuple[int, ...]

    @property
    def matrix_offset(self) -> int:
        """Bytes from the first number to the layer matrix."""
        return 8 * len(self.scalars)

    @property
    def tail_offset(self) -> int:
        """Bytes from the first number to what follows the layer matrix: profiled, correlations, series."""
        return self.matrix_offset + 4 * len(self.fields) * len(self.layers)


def pack(epoch: Epoch) -> bytes:
    """Return the numbers of ``epoch`` as bytes."""
    scalars = dict(_scalars(epoch))
    layers = epoch.layer_health.layers if epoch.layer_health else {}
    stats = list(layers.values())
    used = [name for name in LAYER_FIELDS if any(getattr(each, name) is not None for each in stats)]
    cells = [getattr(each, name) for name in used for each in stats]
    profiled = [each for each in (epoch.profiler.per_layer if epoch.profiler else []) if each.pct_total is not None]
    pairs = [each for each in (epoch.layer_health.correlations if epoch.layer_health else []) if _known(each)]
    series: dict[str, list[Any]] = {name: values for name in SERIES if (values := getattr(epoch.steps, name, None))}
    if epoch.classes:
        series |= {
            name: values
            for name, split, own in CLASS_SERIES
            if (values := getattr(epoch.classes.get(split), own, None))
        }
    tail = [each.pct_total for each in profiled] + [each.correlation for each in pairs]
    tail += [value for values in series.values() for value in values]
    layout = {
        "scalars": list(scalars),
        "layers": list(layers),
        "fields": used,
        "missing": [index for index, cell in enumerate(cells) if cell is None],
        "profiled": [each.name for each in profiled],
        "correlations": [[each.layer_a, each.layer_b] for each in pairs],
        "series": [[name, len(values)] for name, values in series.items()],
        "gaps": [index for index, value in enumerate(tail) if value is None],
    }
    head = json.dumps(layout, separators=(",", ":")).encode()
    numbers = array("d", (float(value) for value in scalars.values()))
    return b"".join((MAGIC, struct.pack("<I", len(head)), head, _little(numbers), _float32(cells), _float32(tail)))


def open_packed(blob: bytes) -> tuple[Layout, int]:
    """Return the layout of ``blob`` and the offset of its first number.

    Raises ValueError when ``blob`` is not a packed epoch of a version this module knows.
    """
    if blob[:4] != MAGIC:
        raise ValueError("not a packed epoch of version 1")
    (length,) = struct.unpack_from("<I", blob, 4)
    return _layout(bytes(blob[8 : 8 + length])), 8 + length


def _scalars(epoch: Epoch) -> Iterator[tuple[str, float]]:
    yield "epoch", epoch.epoch
    yield "attempt", epoch.attempt
    for name in ("duration_seconds", "learning_rate"):
        if (value := getattr(epoch, name)) is not None:
            yield name, value
    for group, names in _SCALARS:
        record = getattr(epoch, group)
        if record is not None:
            for name in names:
                if (value := getattr(record, name)) is not None:
                    yield f"{group}.{name}", value
    if epoch.loss:
        yield from ((f"loss.val.{name}", value) for name, value in epoch.loss.val.items() if value is not None)
    if epoch.profiler:
        for category, share in epoch.profiler.operation_categories.items():
            yield from _shares(category, share)


def _shares(category: str, share: OperationShare) -> Iterator[tuple[str, float]]:
    for each in fields(share):
        if (value := getattr(share, each.name)) is not None:
            yield f"profiler.operation_categories.{category}.{each.name}", value


def _known(pair: Any) -> bool:
    return pair.correlation is not None


def _float32(values: Iterable[float | bool | None]) -> bytes:
    # A finite number too large for float32 must not turn into an infinity that nobody logged.
    return _little(array("f", (_clamp(float("nan") if value is None else float(value)) for value in values)))


def _clamp(value: float) -> float:
    if value in (float("inf"), float("-inf")) or value != value:
        return value
    return max(-FLOAT32_MAX, min(FLOAT32_MAX, value))


def _little(numbers: array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


@lru_cache(maxsize=256)
def _layout(head: bytes) -> Layout:
    data = json.loads(head)
    return Layout(
        scalars=tuple(data["scalars"]),
        layers=tuple(data["layers"]),
        fields=tuple(data["fields"]),
        missing=tuple(data["missing"]),
        profiled=tuple(data["profiled"]),
        correlations=tuple((a, b) for a, b in data["correlations"]),
        series=tuple((name, length) for name, length in data["series"]),
        gaps=tuple(data["gaps"]),
    )
