"""The network of a session as its page shows it: layers in order, their sizes, their share of the compute."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from diagnostics.engine import Run
from diagnostics.engine.architecture import Layer, blueprint, read_architecture
from sessions.models import Model

LAYERS_SHOWN = 300
OPERATIONS = "profiler.operation_categories."


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer. Shares are in percent; ``compute`` is the mean over the profiled steps."""

    layer: Layer
    parameters: float | None
    compute: float | None
    has_issue: bool

    @property
    def shape(self) -> str:
        """Sizes of the input and the output without the batch."""
        ends = ["×".join(map(str, shape[1:])) for shape in (self.layer.input_shape, self.layer.output_shape)]
        return " → ".join(ends) if all(ends) else ""


@dataclass(frozen=True, slots=True)
class ArchitectureView:
    model_class: str
    total: int
    trainable: int | None
    kind: str
    rows: list[LayerRow]
    left_out: int
    has_compute: bool


@dataclass(frozen=True, slots=True)
class ProfileView:
    """What the profiled steps took, as means. ``operations`` are names with percent of the time of each of
    ``units``."""

    steps: int
    units: list[str]
    operations: list[tuple[str, list[float | None]]]
    layers: list[tuple[str, float]]
    figures: list[tuple[str, float]]


_SHARES = {"pct_cpu": "CPU", "pct_cuda": "GPU"}
_TIMES = (
    ("profiler.forward_ms", "forward, ms"),
    ("profiler.backward_ms", "backward, ms"),
    ("profiler.fwd_bwd_ratio", "backward over forward"),
    ("profiler.total_cpu_time_ms", "CPU time, ms"),
    ("profiler.total_cuda_time_ms", "GPU time, ms"),
)


def architecture(model: Model | None, logged: Run, suspects: Collection[str]) -> ArchitectureView | None:
    """Return the layers in the order of execution; of very many those with the most parameters, still in order."""
    if model is None:
        return None
    found = blueprint(read_architecture(model.architecture))
    compute = _means(logged.profiler_shares.layers, logged.profiler_shares.values)
    total = found.total_parameters or model.total_parameters
    largest = sorted(found.layers, key=lambda layer: (layer.id not in suspects, -layer.parameters))[:LAYERS_SHOWN]
    kept = {layer.id for layer in largest}
    rows = [
        LayerRow(
            layer=layer,
            parameters=100 * layer.parameters / total if total and layer.parameters else None,
            compute=compute.get(layer.id),
            has_issue=layer.id in suspects,
        )
        for layer in found.layers
        if layer.id in kept
    ]
    return ArchitectureView(
        model_class=model.model_class,
        total=model.total_parameters,
        trainable=model.architecture.get("trainable_parameters") if isinstance(model.architecture, dict) else None,
        kind=found.kind,
        rows=rows,
        left_out=len(found.layers) - len(rows),
        has_compute=any(row.compute is not None for row in rows),
    )


def profile(logged: Run) -> ProfileView | None:
    """Return where the time of the profiled steps went; None if no step was profiled."""
    means = _means(logged.scalars.labels, logged.scalars.values)
    shares: dict[str, dict[str, float]] = {}
    for name, value in means.items():
        if name.startswith(OPERATIONS):
            category, _, share = name.removeprefix(OPERATIONS).rpartition(".")
            shares.setdefault(category, {})[share] = value
    figures = [(label, means[name]) for name, label in _TIMES if name in means]
    by_layer = _means(logged.profiler_shares.layers, logged.profiler_shares.values)
    if not shares and not figures and not by_layer:
        return None
    # Some clients give fractions, some percent.
    unit = 100 if all(each.get(share, 0) <= 1 for each in shares.values() for share in _SHARES) else 1
    used = [share for share in _SHARES if any(share in each for each in shares.values())]
    operations = [
        (name, [each[share] * unit if share in each else None for share in used]) for name, each in shares.items()
    ]
    return ProfileView(
        steps=int(logged.column("profiler.step").seen.sum()) or int(logged.column(_TIMES[0][0]).seen.sum()),
        units=[_SHARES[share] for share in used],
        operations=sorted(operations, key=lambda row: -max((share or 0 for share in row[1]), default=0)),
        layers=sorted(by_layer.items(), key=lambda pair: -pair[1])[:20],
        figures=figures,
    )


def _means(names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    """Return the mean of each column over the epochs with a finite value."""
    finite = np.isfinite(values)
    counts = finite.sum(axis=0)
    sums = np.where(finite, values, 0).sum(axis=0, dtype=np.float64)
    return {str(name): float(sums[at] / counts[at]) for at, name in enumerate(names) if counts[at]}
