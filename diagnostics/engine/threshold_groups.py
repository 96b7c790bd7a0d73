"""The thresholds by subject, as pages show them."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from diagnostics.engine.thresholds import DiagnosticThresholds

_GROUPS = {
    "divergence_epochs": "Loss",
    "oscillation_epochs": "Learning rate",
    "blow_up_steps": "Start and progress",
    "throughput_drop_pct": "Speed, memory, machine",
    "diminishing_returns_pct": "Layers, compute, emissions",
    "vanishing_gradient_ratio": "Evidence: layers and profiles",
    "fc_dominates_pct": "Convolutional networks",
    "head_width_min": "Transformers and recurrent networks",
    "below_baseline_ratio": "Baselines",
    "short_history": "Evidence: history and noise",
    "overfitting_short_history": "Evidence: overfitting",
    "throughput_z": "Evidence: speed and memory",
    "diminishing_short_history": "Evidence: stopping early, size",
}
"""By the name of its first threshold. Evidence is what the robust profile asks for."""


def grouped() -> dict[str, list[Field[Any]]]:
    """Return all thresholds by group, in the order of their declaration; ``metadata`` has unit, reason, low, high."""
    groups: dict[str, list[Field[Any]]] = {}
    title = ""
    for each in fields(DiagnosticThresholds):
        title = _GROUPS.get(each.name, title)
        groups.setdefault(title, []).append(each)
    return groups
