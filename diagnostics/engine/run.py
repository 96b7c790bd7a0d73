"""A training run as columns: epoch-indexed arrays that the checks read.

"Logged NaN" and "not logged" are different things, so every array comes with a mask of what was seen.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from diagnostics.engine.architecture import Blueprint, blueprint, read_architecture
from diagnostics.engine.baseline import Baseline
from diagnostics.engine.columns import (
    Block,
    Cells,
    Singles,
    Table,
    merge_cells,
    merge_tables,
    one_of_equal,
    read_blocks,
    unpack_blocks,
)
from diagnostics.engine.curves import Bools, Floats, Ints
from diagnostics.engine.decoded import is_decoded, read_decoded
from diagnostics.engine.logged import Column, Matrix, StepSeries
from diagnostics.engine.reading import Reading, entries, read_epoch, read_logs
from observer_client.record import Architecture, Epoch, LogLine

if TYPE_CHECKING:
    from diagnostics.engine.anomaly import AnomalyModel


@dataclass(frozen=True, eq=False)
class Run:
    """All that is known of a training run. ``epochs`` (int64) holds the epochs' numbers, ascending and unique; row i
    of every column is the epoch ``epochs[i]``. Build one with `from_epochs` or `from_packed`."""

    epochs: Ints
    scalars: Table
    cells: Cells
    profiled: Table
    correlated: Table
    series: Mapping[str, Sequence[tuple[Ints, Table]]]
    logs: tuple[LogLine, ...] | None = None
    """None if nobody captured them: a program that logged nothing is another thing."""
    architecture: Architecture | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    baseline: Baseline | None = None
    """What the run is compared with (`diagnose`)."""
    anomaly_model: AnomalyModel | None = None
    """What is normal in the project that the run belongs to; None for what is normal in general."""
    ending: Mapping[str, Any] | None = None
    """``status`` and ``reason`` of a run that ended, ``silent_seconds`` of one that should be heard of."""

    @classmethod
    def from_epochs(
        cls,
        epochs: Sequence[Epoch | Mapping[str, Any]],
        *,
        logs: Sequence[LogLine | Mapping[str, Any]] | None = None,
        architecture: Architecture | Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        anomaly_model: AnomalyModel | None = None,
    ) -> Self:
        """Build a run from records or from dicts shaped as the guide's section 4.1.

        Never raises on what a dict may hold: what is no number counts as not logged. Epochs without a number
        follow their predecessor; of epochs with the same number the highest attempt, then the last given, wins. Logs
        that were captured and hold no line are an empty sequence, None says that nobody looked.
        """
        read = (read_decoded(epoch) if is_decoded(epoch) else read_epoch(epoch) for epoch in entries(epochs))
        readings = [reading for reading in read if reading is not None]
        blocks = read_blocks(readings, _numbered(readings))
        return cls._of(blocks, len(readings), logs, architecture, hyperparameters, environment, anomaly_model)

    @classmethod
    def from_packed(
        cls,
        blobs: Sequence[bytes],
        *,
        logs: Sequence[LogLine | Mapping[str, Any]] | None = None,
        architecture: Architecture | Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        anomaly_model: AnomalyModel | None = None,
    ) -> Self:
        """Build a run from epochs packed by `observer_client.packed.pack`, at the cost of copying their bytes.

        Raises ValueError for bytes that are no packed epoch.
        """
        blocks = unpack_blocks(blobs)
        return cls._of(blocks, len(blobs), logs, architecture, hyperparameters, environment, anomaly_model)

    @classmethod
    def _of(
        cls,
        blocks: list[Block],
        length: int,
        logs: Any,
        arch: Any,
        hyperparameters: Any,
        environment: Any,
        anomaly_model: AnomalyModel | None,
    ) -> Self:
        scalars = merge_tables([(block.rows, block.scalars) for block in blocks], length)
        order = _order(scalars)
        series: dict[str, list[tuple[Ints, Table]]] = {}
        for block in blocks:
            for name, table in block.series.items():
                series.setdefault(name, []).append((block.rows, table))
        run = cls(
            epochs=scalars.values[:, scalars.labels.index("epoch")].astype(np.int64)
            if length
            else np.zeros(0, np.int64),
            scalars=scalars,
            cells=merge_cells([(block.rows, block.cells) for block in blocks], length),
            profiled=merge_tables([(block.rows, block.profiled) for block in blocks], length),
            correlated=merge_tables([(block.rows, block.correlations) for block in blocks], length),
            series=series,
            logs=None if logs is None else read_logs(logs),
            architecture=read_architecture(arch),
            hyperparameters=hyperparameters if isinstance(hyperparameters, Mapping) else {},
            environment=environment if isinstance(environment, Mapping) else {},
            anomaly_model=anomaly_model,
        )
        return run if order is None else run._ordered(order)

    def _ordered(self, order: Ints) -> Self:
        place = np.full(self.epochs.size, -1)
        place[order] = np.arange(order.size)
        cells = self.cells
        return type(self)(
            epochs=self.epochs[order],
            scalars=_rows(self.scalars, order),
            cells=Cells(cells.fields, cells.layers, cells.values[order], cells.seen[order]),
            profiled=_rows(self.profiled, order),
            correlated=_rows(self.correlated, order),
            series={name: [(place[rows], table) for rows, table in parts] for name, parts in self.series.items()},
            logs=self.logs,
            architecture=self.architecture,
            hyperparameters=self.hyperparameters,
            environment=self.environment,
            anomaly_model=self.anomaly_model,
        )

    def __len__(self) -> int:
        return int(self.epochs.size)

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the scalar columns in which anything was logged."""
        labels, seen = self.scalars.labels, one_of_equal(self.scalars.seen)
        if seen.shape[0] and seen.all():
            return frozenset(labels)
        return frozenset(labels[index] for index in np.flatnonzero(seen.any(axis=0)))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.scalars.labels)}

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {}

    @cached_property
    def _by_column(self) -> tuple[Floats, Bools]:
        # The checks read a column many times, and a stretch of memory is quicker to read than every n-th number.
        return np.ascontiguousarray(self.scalars.values.T), np.ascontiguousarray(self.scalars.seen.T)

    @cached_property
    def _no_column(self) -> tuple[Floats, Bools]:
        return _nothing((len(self),), np.float64)

    @cached_property
    def _no_matrix(self) -> tuple[Singles, Bools]:
        return _nothing((len(self), len(self.layers)), np.float32)

    def column(self, name: str) -> Column:
        """Return a scalar column by its dotted name ("loss.train_mean"); one that nobody logged is empty."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._column(name)
        return column

    def _column(self, name: str) -> Column:
        index = self._index.get(name)
        if index is None:
            return Column(name, *self._no_column)
        values, seen = self._by_column
        return Column(name, values[index], seen[index])

    @cached_property
    def memory(self) -> dict[Hashable, Any]:
        """What checks have worked out about this run and others may ask for again, by a key of their own."""
        return {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose health was logged."""
        return self.cells.layers

    @cached_property
    def _matrices(self) -> dict[str, Matrix]:
        return {}

    def layer_matrix(self, name: str) -> Matrix:
        """Return one statistic (a field of `LayerStats`) of all layers, epochs x layers."""
        matrix = self._matrices.get(name)
        if matrix is None:
            matrix = self._matrices[name] = self._layer_matrix(name)
        return matrix

    def _layer_matrix(self, name: str) -> Matrix:
        if name not in self.cells.fields:
            return Matrix(name, self.layers, *self._no_matrix)
        index = self.cells.fields.index(name)
        return Matrix(name, self.layers, np.ascontiguousarray(self.cells.values[:, index]), self.cells.seen[:, index])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.layers)}

    def place(self, layer: str | None) -> int:
        """Return where in `layers` a layer is. Raises KeyError if it is not among them."""
        return self._places[str(layer)]

    @property
    def nowhere(self) -> Bools:
        """False for every epoch and layer: the answer of most checks to most runs. Nobody may write to it."""
        return self._no_matrix[1]

    @cached_property
    def profiler_shares(self) -> Matrix:
        """Share of the compute in percent, epochs x profiled layers."""
        return Matrix("profiler.per_layer", self.profiled.labels, self.profiled.values, self.profiled.seen)

    @cached_property
    def correlations(self) -> Matrix:
        """Correlation of the outputs of two layers, epochs x pairs; ``layers`` holds the pairs."""
        return Matrix("layer_health.correlations", self.correlated.labels, self.correlated.values, self.correlated.seen)

    @cached_property
    def _series(self) -> dict[str, StepSeries]:
        return {}

    def steps(self, name: str) -> StepSeries:
        """Return a step series (a field of `Steps`) or counts by class ("classes.val.support"), all epochs in order."""
        if name not in self._series:
            self._series[name] = self._joined(name)
        return self._series[name]

    def _joined(self, name: str) -> StepSeries:
        parts = self.series.get(name, ())
        if len(parts) == 1 and _is_ascending(parts[0][0]):
            at, table = parts[0]
            return StepSeries(name, np.repeat(at, len(table.labels)), table.values.reshape(-1), table.seen.reshape(-1))
        rows, values, seen = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], [np.zeros(0, bool)]
        for at, table in parts:
            rows.append(np.repeat(at, len(table.labels)))
            values.append(table.values.reshape(-1))
            seen.append(table.seen.reshape(-1))
        where = np.concatenate(rows)
        order = np.argsort(where, kind="stable")[np.count_nonzero(where < 0) :]
        return StepSeries(name, where[order], np.concatenate(values)[order], np.concatenate(seen)[order])

    @cached_property
    def blueprint(self) -> Blueprint:
        """The layers in the order of execution, with sizes; empty if no architecture was registered."""
        return blueprint(self.architecture)

    def has(self, need: str) -> bool:
        """Return whether ``need`` was logged: a scalar column, "logs", "architecture", "layers.<statistic>", or
        "baseline.<figure>" of what the run is compared with.

        "a | b" asks whether either of them was.
        """
        known = self._has.get(need)
        if known is None:
            known = self._has[need] = any(map(self._look_for, _alternatives(need)))
        return known

    @cached_property
    def _has(self) -> dict[str, bool]:
        return dict.fromkeys(self.names, True)

    @cached_property
    def _statistics(self) -> frozenset[str]:
        """The statistics of layers of which anything was logged."""
        cells = self.cells
        seen: Bools = np.asarray(one_of_equal(cells.seen).any(axis=(0, 2)))
        return frozenset(name for name, is_seen in zip(cells.fields, seen.tolist(), strict=True) if is_seen)

    def _look_for(self, need: str) -> bool:
        if need in self.names:
            return True
        group, _, statistic = need.partition(".")
        if group == "layers":
            return statistic in self._statistics
        if group == "steps":
            return statistic in self.series
        if need == "logs":
            return self.logs is not None
        if need == "architecture":
            return self.architecture is not None
        if need == "profiler.per_layer":
            return bool(self.profiler_shares)
        if need == "layer_health.correlations":
            return bool(self.correlations)
        if group == "baseline":
            return self._has_baseline(statistic)
        if group == "ending":
            return (self.ending or {}).get(statistic) is not None
        return group == "classes" and need in self.series

    def _has_baseline(self, figure: str) -> bool:
        if self.baseline is None:
            return False
        if figure == "metric":
            return any(self.column(name).finite.size for name in self.baseline.columns)
        return self.baseline.parameters is not None


@lru_cache(maxsize=256)
def _alternatives(need: str) -> tuple[str, ...]:
    return tuple(need.split(" | "))


def _is_ascending(rows: Ints) -> bool:
    return bool(rows.size and rows[0] >= 0 and (rows[1:] > rows[:-1]).all())


def _numbered(readings: Sequence[Reading]) -> list[int]:
    numbers: list[int] = []
    for reading in readings:
        follows = numbers[-1] + 1 if numbers else 0
        numbers.append(follows if reading.number is None else reading.number)
    if any(reading.number is None for reading in readings) and len(set(numbers)) < len(numbers):
        # Fractions of an epoch, or gaps: the order is all that can be trusted, and no epoch may hide another.
        return list(range(len(readings)))
    return numbers


def _order(scalars: Table) -> Ints | None:
    """Return the rows to keep, by epoch, or None if they are in order as they stand."""
    if not scalars.labels:
        return None
    epoch = scalars.values[:, scalars.labels.index("epoch")]
    if np.all(epoch[1:] > epoch[:-1]):
        return None
    attempt = np.zeros(epoch.size)
    if "attempt" in scalars.labels:
        attempt = np.nan_to_num(scalars.values[:, scalars.labels.index("attempt")])
    order: Ints = np.lexsort((np.arange(epoch.size), attempt, epoch))
    last = np.append(epoch[order][1:] != epoch[order][:-1], True)
    kept: Ints = order[last]
    return kept


def _nothing(shape: tuple[int, ...], kind: type[np.floating[Any]]) -> tuple[npt.NDArray[Any], Bools]:
    """Return the numbers of what was not logged. Everybody gets the same ones, so nobody may write to them."""
    values, seen = np.full(shape, np.nan, kind), np.zeros(shape, bool)
    values.flags.writeable = seen.flags.writeable = False
    return values, seen


def _rows(table: Table, order: Ints) -> Table:
    return Table(table.labels, table.values[order], table.seen[order])
