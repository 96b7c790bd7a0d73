"""What a report says beside its issues: sustainability figures, and issues by epoch and by layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from diagnostics.engine.checks.throughput import DURATION
from diagnostics.engine.columns import Singles
from diagnostics.engine.curves import Floats
from diagnostics.engine.issue import IssueData, IssueSeverity
from diagnostics.engine.logged import Matrix
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds
from observer_client.record import plain


@dataclass(slots=True)
class SustainabilityInsight:
    """What the run cost and what of it was wasted (guide 9.3). None means that nothing was logged to tell it.

    ``wasted_compute_pct`` is in percent of the run's time (of its epochs, where durations are missing) and 0.0 when
    nothing was wasted, so that it can be compared. ``parameter_efficiency_score`` is 100 times the overlap of two
    distributions over the layers, that of the parameters and that of the compute: 100 where each layer computes in
    proportion to its size, near 0 where the parameters lie in layers that do no work.
    """

    optimal_stop_epoch: int | None = None
    wasted_epochs: int = 0
    wasted_compute_pct: float = 0.0
    wasted_duration_seconds: float | None = None
    total_training_duration_seconds: float | None = None
    total_samples_processed: int | None = None
    dead_layers: list[str] = field(default_factory=list)
    vanishing_gradient_layers: list[str] = field(default_factory=list)
    frozen_output_layers: list[str] = field(default_factory=list)
    redundant_layer_pairs: list[dict[str, Any]] = field(default_factory=list)
    parameter_efficiency_score: float | None = None
    total_co2_kg: float | None = None
    total_energy_kwh: float | None = None
    co2_per_epoch_avg_kg: float | None = None
    co2_per_1k_samples_kg: float | None = None
    avg_power_draw_watts: float | None = None
    wasted_co2_kg: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}


@dataclass(slots=True)
class EpochTrend:
    """The issues of one epoch. An issue that stands for several occurrences is in each epoch it occurred in."""

    epoch: int
    issues: list[IssueData]

    def as_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "issue_count": len(self.issues),
            "severity_breakdown": severity_breakdown(self.issues),
            # Name and kind only: an issue of a thousand epochs is described once, in the list of issues.
            "issues": [{name: plain(getattr(issue, name)) for name in _NAMED} for issue in self.issues],
        }


_NAMED = ("check_id", "severity", "category", "title", "layer_id", "metric_key")


@dataclass(slots=True)
class LayerHighlight:
    """The issues of one layer (guide 9.2). ``severity_score`` is the sum of their weights."""

    layer_id: str
    layer_type: str | None
    severity_score: int
    issues: list[IssueData]

    def as_dict(self) -> dict[str, Any]:
        return {
            "layer_id": self.layer_id,
            "layer_type": self.layer_type,
            "severity_score": self.severity_score,
            "issues": [issue.as_dict() for issue in self.issues],
        }


def severity_breakdown(issues: Sequence[IssueData]) -> dict[str, int]:
    counts = Counter(issue.severity for issue in issues)
    return {str(severity): counts[severity] for severity in IssueSeverity}


def epoch_trends(issues: Sequence[IssueData]) -> list[EpochTrend]:
    """Return the issues that are tied to epochs, by epoch."""
    by_epoch: dict[int, list[IssueData]] = {}
    for issue in issues:
        if issue.epoch_index is not None:
            hit = issue.evidence.get("epochs", ()) if issue.count > 1 else ()
            for epoch in dict.fromkeys((issue.epoch_index, *hit)):
                by_epoch.setdefault(epoch, []).append(issue)
    return [EpochTrend(epoch, by_epoch[epoch]) for epoch in sorted(by_epoch)]


def layer_highlights(issues: Sequence[IssueData], types: Mapping[str, str]) -> list[LayerHighlight]:
    """Return the issues that are tied to layers, by layer, the most problematic layer first."""
    by_layer: dict[str, list[IssueData]] = {}
    for issue in issues:
        if issue.layer_id is not None:
            by_layer.setdefault(issue.layer_id, []).append(issue)
    highlights = [
        LayerHighlight(layer, types.get(layer), sum(issue.severity.weight for issue in found), found)
        for layer, found in by_layer.items()
    ]
    return sorted(highlights, key=lambda highlight: -highlight.severity_score)


def sustainability(run: Run, issues: Sequence[IssueData], limits: DiagnosticThresholds) -> SustainabilityInsight:
    """Return the figures of ``run``; what was wasted is what the reported early-stop opportunity says."""
    with np.errstate(over="ignore", invalid="ignore"):
        insight = _measured(run, limits)
        _add_waste(run, issues, insight)
        _add_carbon(run, insight)
    return insight


def _measured(run: Run, limits: DiagnosticThresholds) -> SustainabilityInsight:
    samples = _total(run.column("throughput.samples_processed").values)
    return SustainabilityInsight(
        total_training_duration_seconds=_total(run.column(DURATION).values),
        total_samples_processed=None if samples is None or not math.isfinite(samples) else int(samples),
        dead_layers=_flagged(run, "is_dead"),
        vanishing_gradient_layers=_vanishing(run, limits),
        frozen_output_layers=_flagged(run, "has_frozen_output"),
        redundant_layer_pairs=_redundant(run, limits),
        parameter_efficiency_score=_efficiency(run),
    )


def _add_waste(run: Run, issues: Sequence[IssueData], insight: SustainabilityInsight) -> None:
    stop = next((issue.evidence for issue in issues if issue.check_id == "early-stop-opportunity"), None)
    if stop is not None:
        insight.optimal_stop_epoch = stop["optimal_stop_epoch"]
        insight.wasted_epochs = stop["wasted_epochs"]
        insight.wasted_compute_pct = round(100 * stop["wasted_share"], 1)
        insight.wasted_duration_seconds = stop["wasted_seconds"]
    elif insight.total_training_duration_seconds is not None:
        insight.wasted_duration_seconds = 0.0


def _add_carbon(run: Run, insight: SustainabilityInsight) -> None:
    emitted = run.column("carbon_emissions.epoch_co2_kg").values
    insight.total_co2_kg = _total(emitted)
    insight.total_energy_kwh = _total(run.column("carbon_emissions.epoch_energy_kwh").values)
    power = run.column("carbon_emissions.power_draw_watts").values
    if np.isfinite(power).any():
        insight.avg_power_draw_watts = _average(power, run.column(DURATION).values)
    if insight.total_co2_kg is None:
        return
    insight.co2_per_epoch_avg_kg = insight.total_co2_kg / int(np.isfinite(emitted).sum())
    if insight.total_samples_processed:
        insight.co2_per_1k_samples_kg = 1000 * insight.total_co2_kg / insight.total_samples_processed
    insight.wasted_co2_kg = 0.0
    if insight.optimal_stop_epoch is not None:
        insight.wasted_co2_kg = _total(emitted[run.epochs > insight.optimal_stop_epoch]) or 0.0


def _total(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.sum()) if known.size else None


def _average(values: Floats, weights: Floats) -> float:
    known = np.isfinite(values) & np.isfinite(weights) & (weights > 0)
    if known.any():
        return float(np.average(values[known], weights=weights[known]))
    return float(values[np.isfinite(values)].mean())


def _flagged(run: Run, flag: str) -> list[str]:
    """Return the layers whose flag is raised in the last epoch that says anything about them."""
    matrix = run.layer_matrix(flag)
    if not matrix.highest >= 1:
        return []
    raised = _latest(matrix) == 1
    return [layer for layer, is_raised in zip(run.layers, raised, strict=True) if is_raised]


def _latest(matrix: Matrix) -> Singles:
    """Return the last value seen of each layer, NaN for a layer without any."""
    if not matrix.values.size:
        return np.full(len(matrix.layers), np.nan, np.float32)
    last = matrix.seen.shape[0] - 1 - np.argmax(matrix.seen[::-1], axis=0)
    # Where nothing was seen, the value is NaN anyway.
    return np.asarray(matrix.values[last, np.arange(last.size)])


def _vanishing(run: Run, limits: DiagnosticThresholds) -> list[str]:
    """Return the trainable layers whose gradient has vanished by the end, by its norm or by the observer's flag."""
    flagged, norms = set(_flagged(run, "has_vanishing_gradients")), run.layer_matrix("gradient_norm_mean")
    if not flagged and not norms.lowest < limits.vanishing_gradient_threshold:
        return []
    tiny = _latest(norms) < limits.vanishing_gradient_threshold
    frozen = _latest(run.layer_matrix("trainable")) == 0
    return [
        layer
        for layer, is_tiny, is_frozen in zip(run.layers, tiny, frozen, strict=True)
        if (layer in flagged or is_tiny) and not is_frozen
    ]


def _redundant(run: Run, limits: DiagnosticThresholds) -> list[dict[str, Any]]:
    matrix = run.correlations
    if not matrix.highest > limits.redundant_correlation:
        return []
    known = np.isfinite(matrix.values)
    mean = np.where(known, matrix.values, 0).sum(axis=0) / np.maximum(1, known.sum(axis=0))
    return [
        {"layer_a": first, "layer_b": second, "correlation": round(float(value), 4)}
        for (first, second), value in zip(matrix.layers, mean, strict=True)
        if value > limits.redundant_correlation
    ]


def _efficiency(run: Run) -> float | None:
    """Return 100 times the sum, over the profiled layers, of the smaller of parameter share and compute share."""
    parameters = {layer.id: layer.share for layer in run.blueprint.layers if layer.share is not None}
    matrix = run.profiler_shares
    if not parameters or not matrix.layers:
        return None
    known = np.isfinite(matrix.values)
    compute = np.where(known, matrix.values, 0).sum(axis=0) / np.maximum(1, known.sum(axis=0))
    shares = [
        (parameters[layer], max(0.0, float(pct)))
        for layer, pct in zip(matrix.layers, compute, strict=True)
        if layer in parameters
    ]
    of_parameters, of_compute = (sum(column) for column in zip(*shares, strict=True)) if shares else (0.0, 0.0)
    if of_parameters <= 0 or of_compute <= 0:
        return None
    return round(100 * sum(min(size / of_parameters, work / of_compute) for size, work in shares), 1)
