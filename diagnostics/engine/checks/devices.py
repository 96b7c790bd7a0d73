"""Checks on the GPU: how much of it is used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Floats, median, ratio, rise_p_value, slope
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

LOAD = "system.gpu_percent"
SECONDS = "duration_seconds"
PEAK = "memory.gpu_peak_mb"
USED = "memory.gpu_used_mb"
TOTAL = "memory.gpu_total_mb"


@check(
    "gpu-underutilized",
    title="GPU hardly used",
    category=IssueCategory.system,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(LOAD,),
    section="",
)
def gpu_underutilized(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The GPU waits most of the time.

    ## What it does
    Takes the median over the epochs of the GPU's mean load, as its driver tells it once a second (with
    `nvidia-ml-py`); less than 30 % is a finding. The robust profile leaves the first epoch out where there are more,
    and asks for half a minute of training.

    ## Why it matters
    An idle GPU costs as much as a busy one. Something else sets the pace: loading, small batches, the program itself.

    ## How to fix it
    Make batches larger, load them with more workers, and keep the program from waiting for the GPU at every step.

    ```python
    loader = torch.utils.data.DataLoader(dataset, batch_size=256, num_workers=8, pin_memory=True)
    ```
    """
    column = run.column(LOAD)
    yield from _underused(column.values[column.finite], limits)


@gpu_underutilized.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    column = run.column(LOAD)
    rows = column.finite[1:] if column.finite.size > 1 else column.finite
    seconds = float(np.nansum(run.column(SECONDS).values[rows]))
    for found in _underused(column.values[rows], limits):
        if seconds < limits.low_gpu_seconds:
            found.suppressed = f"{seconds:.3g} s say little about the load"
        yield found


def _underused(load: Floats, limits: DiagnosticThresholds) -> Iterator[Finding]:
    usual = median(load) if load.size else 100.0
    if usual < limits.low_gpu_percent:
        yield Finding(
            description=f"The GPU was loaded to {usual:.0f} %.",
            key=LOAD,
            value=usual,
            evidence=evidence([LOAD], [], [usual], limits, "low_gpu_percent"),
        )


@check(
    "gpu-memory-pressure",
    title="GPU memory almost full",
    category=IssueCategory.memory,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(f"{PEAK} | {USED}", TOTAL),
    section="",
)
def gpu_memory_pressure(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The GPU is about to run out of memory.

    ## What it does
    Compares the most memory that tensors took, or all processes together where the driver tells it, with what the
    device has: above 92 % is a finding. Where the peak rises steadily (Mann-Kendall, five epochs) it is one from a
    half on, if the memory will be full within as many epochs as the run has had.

    ## Why it matters
    The next longer sequence or larger last batch ends the run with an out-of-memory error, and an allocator near its
    end searches and frees instead of training.

    ## How to fix it
    Halve the batch size and accumulate two gradients, or recompute activations instead of keeping them.

    ```python
    out = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    ```
    """
    total = run.column(TOTAL).values
    for key in (PEAK, USED):
        share = ratio(run.column(key).values, total)
        rows = np.flatnonzero(share > limits.gpu_memory_pct)
        for row in rows:
            yield _pressure(run, key, int(row), float(share[row]), "", limits)
        if not rows.size and (left := _epochs_left(run, key, limits)) is not None:
            last = int(run.column(key).finite[-1])
            yield _pressure(
                run, key, last, float(share[last]), f"; at this pace it is full in {left:.0f} epochs", limits
            )


def _pressure(run: Run, key: str, row: int, share: float, outlook: str, limits: DiagnosticThresholds) -> Finding:
    epoch, value = int(run.epochs[row]), float(run.column(key).values[row])
    return Finding(
        description=f"In epoch {epoch} {value:.5g} MiB of the GPU's memory were in use, {share:.0%} of it{outlook}.",
        epoch=epoch,
        key=key,
        value=value,
        evidence=evidence([key, TOTAL], [epoch], [value], limits, "gpu_memory_pct") | {"share": share},
    )


def _epochs_left(run: Run, key: str, limits: DiagnosticThresholds) -> float | None:
    """Return the epochs until the memory is full, None unless it fills steadily and soon."""
    column, total = run.column(key), run.column(TOTAL).values
    memory = column.values[column.finite]
    if memory.size < limits.short_history:
        return None
    room = float(total[column.finite[-1]])
    pace = slope(memory)
    if not memory[-1] > limits.gpu_memory_growing_pct * room or pace <= 0:
        return None
    if rise_p_value(memory) >= limits.trend_p_value:
        return None
    left = (room - float(memory[-1])) / pace
    return left if left <= memory.size else None
