"""Checks on memory."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.engine.curves import Floats, rise_p_value, slope
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import planned_epochs
from diagnostics.engine.thresholds import DiagnosticThresholds

_KINDS = {
    "memory.process_rss_mb": ("process memory", "memory.system_available_mb"),
    "memory.gpu_allocated_mb": ("GPU memory", "memory.gpu_total_mb"),
}

_TREND = 5
# Epochs from which a rate of growth means something.


@check(
    "memory-growth",
    title="Memory growth",
    category=IssueCategory.memory,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(" | ".join(_KINDS),),
    section="5.8",
)
def memory_growth(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The memory in use grows from epoch to epoch.

    ## What it does
    Compares the memory of the process, and that of the GPU, in the last epoch with the first; more than 25 % growth
    looks like a leak. The robust profile asks for at least 100 MiB and, from five epochs on, for a significant trend
    that has not settled in the last third of the run, which caches and allocators do. It is critical if the memory
    will be full before the epochs are over that the hyperparameters tell of: then the run ends in a crash.

    ## Why it matters
    A leak ends in an out-of-memory error, usually late in the run, when the most work is lost.

    ## How to fix it
    Store numbers, not tensors: a kept loss holds the whole graph that made it.

    ```python
    losses.append(loss.item())  # not losses.append(loss)
    ```
    """
    for name, (kind, _) in _KINDS.items():
        column = run.column(name)
        rows = column.finite
        if rows.size < 2 or column.values[rows[0]] <= 0:
            continue
        first, last = float(column.values[rows[0]]), float(column.values[rows[-1]])
        growth = last / first - 1
        if growth > limits.memory_growth_pct:
            begun, ended = run.epochs[rows[0]], run.epochs[rows[-1]]
            yield Finding(
                description=f"The {kind} grew by {growth:.0%}, from {first:.5g} MiB in epoch {begun} to {last:.5g} "
                f"MiB in epoch {ended}{_time_left(run, name)}.",
                epoch=int(ended),
                key=name,
                value=last,
                evidence=evidence([name], [int(ended)], [last], limits, "memory_growth_pct")
                | {"first": first, "growth": growth},
            )


@memory_growth.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in memory_growth.rule(run, limits):
        column = run.column(found.key or "")
        found.suppressed = _no_leak(column.values[column.finite], limits)
        left, planned = _epochs_left(run, found.key or ""), planned_epochs(run)
        if left is not None and planned is not None and len(run) + left < planned:
            found.severity = IssueSeverity.critical
        yield found


def _no_leak(memory: Floats, limits: DiagnosticThresholds) -> str | None:
    grown = float(memory[-1] - memory[0])
    if grown < limits.memory_growth_min_mb:
        return f"{grown:.4g} MiB are too little to tell from caches"
    if memory.size < limits.short_history:
        return None
    p_value = rise_p_value(memory)
    if p_value >= limits.trend_p_value:
        return f"the growth is no significant trend (p = {p_value:.2g})"
    late, whole = slope(memory[-max(3, memory.size // 3) :]), slope(memory)
    if late < limits.memory_plateau_pct * whole:
        return f"the memory has settled: {late:.3g} MiB per epoch in the last third, {whole:.3g} over the run"
    return None


def _time_left(run: Run, name: str) -> str:
    column, left = run.column(name), _epochs_left(run, name)
    if left is None:
        return ""
    return f"; at {slope(column.values[column.finite]):.3g} MiB per epoch it is full in about {left:.0f} epochs"


def _epochs_left(run: Run, name: str) -> float | None:
    """Return in how many epochs the memory is full if it grows on as it did, None if nothing tells."""
    column, room = run.column(name), run.column(_KINDS[name][1])
    rate = slope(column.values[column.finite])
    if column.finite.size < _TREND or rate <= 0 or not room.finite.size:
        return None
    free = float(room.values[room.finite[-1]])
    if name == "memory.gpu_allocated_mb":
        free -= float(column.values[column.finite[-1]])
    return max(0.0, free) / rate
