"""Stacks epochs into arrays: blocks of equal layout first, then one table for the whole run.

Two ways in, one way out: `read_blocks` takes what `reading` found in records or dicts, `unpack_blocks` takes packed
bytes. Layer statistics, profiler shares and step series are rounded to float32 as the packed form does, so both ways
give the same run.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from diagnostics.engine.curves import Bools, Floats, Ints
from diagnostics.engine.reading import FIXED, Reading, number
from observer_client.packed import FLOAT32_MAX, LAYER_FIELDS, open_packed

Singles = npt.NDArray[np.float32]
Label = TypeVar("Label", bound=Hashable)


@dataclass(slots=True)
class Table:
    """``values`` and ``seen`` have a row per epoch and a column per label. What was not seen is NaN."""

    labels: tuple[Any, ...]
    values: npt.NDArray[Any]
    seen: Bools


@dataclass(slots=True)
class Cells:
    """Layer statistics: epochs x fields x layers."""

    fields: tuple[str, ...]
    layers: tuple[str, ...]
    values: Singles
    seen: Bools


@dataclass(slots=True)
class Block:
    """Epochs of equal layout; ``rows`` says which of the run's epochs they are."""

    rows: Ints
    scalars: Table
    cells: Cells
    profiled: Table
    correlations: Table
    series: dict[str, Table]
    """By name; the labels of the table number the buckets."""


def read_blocks(readings: Sequence[Reading], numbers: Sequence[int]) -> list[Block]:
    """Stack ``readings``, whose epochs are called ``numbers``."""
    groups: dict[Hashable, list[int]] = {}
    for row, reading in enumerate(readings):
        groups.setdefault(reading.layout, []).append(row)
    return [_block(rows, [readings[row] for row in rows], [numbers[row] for row in rows]) for rows in groups.values()]


def _block(rows: list[int], readings: list[Reading], numbers: list[int]) -> Block:
    first = readings[0]
    series = {
        name: _single_table(range(len(values)), [each.series[name] for each in readings])
        for name, values in first.series.items()
    }
    return Block(
        rows=np.array(rows),
        scalars=_scalars(readings, numbers),
        cells=_cells(tuple(first.layers), [list(each.layers.values()) for each in readings]),
        profiled=_single_table(first.profiled, [list(each.profiled.values()) for each in readings]),
        correlations=_single_table(first.correlations, [list(each.correlations.values()) for each in readings]),
        series=series,
    )


def _scalars(readings: list[Reading], numbers: list[int]) -> Table:
    named = dict.fromkeys(chain.from_iterable(each.named for each in readings))
    labels = "epoch", *FIXED, *named
    rows = [[called, *each.fixed, *map(each.named.get, named)] for called, each in zip(numbers, readings, strict=True)]
    values, seen = _numbers([rows], (len(rows), len(labels)))
    kept = np.flatnonzero(seen.any(axis=0))
    return Table(tuple(labels[index] for index in kept), values[:, kept], seen[:, kept])


def _cells(layers: tuple[str, ...], statistics: list[list[tuple[Any, ...]]]) -> Cells:
    shape = (len(statistics), len(layers), len(LAYER_FIELDS))
    values, seen = _numbers(statistics, shape)
    kept = np.flatnonzero(seen.any(axis=(0, 1)))
    return Cells(
        fields=tuple(LAYER_FIELDS[index] for index in kept),
        layers=layers,
        values=single(values[:, :, kept]).transpose(0, 2, 1),
        seen=seen[:, :, kept].transpose(0, 2, 1),
    )


def _numbers(nested: Iterable[Iterable[Iterable[Any]]], shape: tuple[int, ...]) -> tuple[Floats, Bools]:
    """Return the cells of rows of rows as numbers, and which of them were logged."""
    cells: list[Any] = list(chain.from_iterable(chain.from_iterable(nested)))
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros(0)
    if values.shape != (len(cells),):
        # Something among them is no number, which only a look at each can tell.
        cells = [number(cell) for cell in cells]
        values = np.array(cells, dtype=np.float64)
    seen = np.ones(len(cells), bool)
    # What was not logged became NaN; a NaN that was logged stays seen.
    nans = np.flatnonzero(np.isnan(values))
    seen[nans] = [cells[index] is not None for index in nans.tolist()]
    return values.reshape(shape), seen.reshape(shape)


def _single_table(labels: Any, rows: list[list[float | None]]) -> Table:
    names = tuple(labels)
    values, seen = _numbers([rows], (len(rows), len(names)))
    return Table(names, single(values), seen)


def single(values: Floats) -> Singles:
    """Return ``values`` as float32; a finite value too large for it stays finite."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    over = np.isinf(found)
    if over.any():
        over &= np.isfinite(values)
        found[over] = np.copysign(np.float32(FLOAT32_MAX), values[over])
    return found


def unpack_blocks(blobs: Sequence[bytes]) -> list[Block]:
    """Stack packed epochs. Raises ValueError for bytes that are no packed epoch, or cut off."""
    groups: dict[bytes, tuple[list[int], list[bytes]]] = {}
    head, rows, whole = b"", list[int](), list[bytes]()
    for row, blob in enumerate(blobs):
        # Most epochs begin with the very bytes of the one before them, which is quicker to see than what they say.
        if not head or not blob.startswith(head):
            head = blob[: open_packed(blob)[1]]
            rows, whole = groups.setdefault(head, ([], []))
        rows.append(row)
        whole.append(blob)
    return [_unpack(head, np.array(rows), whole) for head, (rows, whole) in groups.items()]


def _unpack(head: bytes, rows: Ints, whole: list[bytes]) -> Block:
    layout, offset = open_packed(head)
    tail = len(layout.profiled) + len(layout.correlations) + sum(length for _, length in layout.series)
    width = layout.tail_offset + 4 * tail
    if {len(blob) for blob in whole} != {offset + width}:
        raise ValueError(f"a packed epoch has {width} bytes of numbers by its layout, but not in fact")
    joined = b"".join(whole)
    raw = np.frombuffer(joined, np.uint8).reshape(len(whole), offset + width)[:, offset:]
    scalars = _view(raw[:, : layout.matrix_offset], "<f8")
    shape = len(whole), len(layout.fields), len(layout.layers)
    # Not copied: a run copies the statistics that are asked for, each of them into one stretch of memory.
    steps = offset + width, 4 * len(layout.layers), 4
    cells = np.ndarray(shape, "<f4", joined, offset + layout.matrix_offset, steps)
    rest = _Tail(_view(raw[:, layout.tail_offset :], "<f4"), layout.gaps)
    return Block(
        rows=rows,
        scalars=Table(layout.scalars, scalars, np.broadcast_to(np.True_, scalars.shape)),
        cells=Cells(layout.fields, layout.layers, cells, np.broadcast_to(_all_but(layout.missing, shape[1:]), shape)),
        profiled=rest.take(layout.profiled),
        correlations=rest.take(layout.correlations),
        series={name: rest.take(tuple(range(length))) for name, length in layout.series},
    )


class _Tail:
    """Cuts what follows the layer matrix into tables, one after the other."""

    def __init__(self, values: Singles, gaps: tuple[int, ...]) -> None:
        self._values = values
        self._seen = np.broadcast_to(_all_but(gaps, values.shape[1:]), values.shape)
        self._at = 0

    def take(self, labels: tuple[Any, ...]) -> Table:
        part = slice(self._at, self._at + len(labels))
        self._at = part.stop
        return Table(labels, self._values[:, part], self._seen[:, part])


def _view(raw: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[Any]:
    item = np.dtype(kind)
    shape = raw.shape[0], raw.shape[1] // item.itemsize
    return np.ascontiguousarray(raw).reshape(-1).view(item).reshape(shape).astype(item.newbyteorder("="), copy=False)


def _all_but(missing: tuple[int, ...], shape: tuple[int, ...]) -> Bools:
    seen = np.ones(shape, bool)
    seen.reshape(-1)[list(missing)] = False
    return seen


def one_of_equal(seen: Bools) -> Bools:
    """Return what tells the same as ``seen`` of what was logged: epochs of one layout have one row among them."""
    return seen[:1] if seen.ndim and seen.strides[0] == 0 else seen


def is_any(seen: Bools) -> bool:
    return bool(one_of_equal(seen).any())


def merge_tables(parts: Sequence[tuple[Ints, Table]], length: int) -> Table:
    """Lay tables of some rows each over one of ``length`` rows."""
    if len(parts) == 1 and _is_whole(parts[0], length):
        return parts[0][1]
    labels = _union([table.labels for _, table in parts])
    values = np.full((length, len(labels)), np.nan, parts[0][1].values.dtype if parts else np.float64)
    seen = np.zeros(values.shape, bool)
    for rows, table in parts:
        if table.labels:
            place = np.ix_(rows, _places(labels, table.labels))
            values[place], seen[place] = table.values, table.seen
    return Table(tuple(labels), values, seen)


def _is_whole(part: tuple[Ints, Table], length: int) -> bool:
    rows, table = part
    return rows.size == length and len(set(table.labels)) == len(table.labels)


def merge_cells(parts: Sequence[tuple[Ints, Cells]], length: int) -> Cells:
    """Lay layer statistics of some epochs each over those of ``length`` epochs."""
    if len(parts) == 1 and parts[0][0].size == length:
        return parts[0][1]
    fields = _union([cells.fields for _, cells in parts])
    layers = _union([cells.layers for _, cells in parts])
    values = np.full((length, len(fields), len(layers)), np.nan, np.float32)
    seen = np.zeros(values.shape, bool)
    for rows, cells in parts:
        if cells.fields and cells.layers:
            place = np.ix_(rows, _places(fields, cells.fields), _places(layers, cells.layers))
            values[place], seen[place] = cells.values, cells.seen
    return Cells(tuple(fields), tuple(layers), values, seen)


def _union(groups: Sequence[tuple[Label, ...]]) -> Mapping[Label, int]:
    order = dict.fromkeys(label for labels in groups for label in labels)
    return {label: index for index, label in enumerate(order)}


def _places(order: Mapping[Label, int], labels: tuple[Label, ...]) -> Ints:
    return np.array([order[label] for label in labels], np.int64)
