"""The catalogue: importing this package registers every check, in the order in which they run."""

from __future__ import annotations

from diagnostics.engine.checks import (
    batches,
    cnn,
    divergence,
    learning,
    logs,
    loss,
    memory,
    numerics,
    start,
    system,
    throughput,
    validation,
    waste,
)

__all__ = [
    "batches",
    "cnn",
    "divergence",
    "learning",
    "logs",
    "loss",
    "memory",
    "numerics",
    "start",
    "system",
    "throughput",
    "validation",
    "waste",
]
