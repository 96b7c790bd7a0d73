"""The catalogue: importing this package registers every check, in the order in which they run."""

from __future__ import annotations

from diagnostics.engine.checks import (
    anomaly,
    batches,
    carbon,
    cnn,
    divergence,
    freezing,
    layers,
    learning,
    logs,
    loss,
    memory,
    numerics,
    profile,
    sequence,
    spikes,
    start,
    system,
    throughput,
    validation,
    waste,
)

__all__ = [
    "anomaly",
    "batches",
    "carbon",
    "cnn",
    "divergence",
    "freezing",
    "layers",
    "learning",
    "logs",
    "loss",
    "memory",
    "numerics",
    "profile",
    "sequence",
    "spikes",
    "start",
    "system",
    "throughput",
    "validation",
    "waste",
]
