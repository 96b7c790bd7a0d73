"""Checks on trainings that run on several processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Bools, Floats, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

DIVERGED = "ranks.diverged"
WORK = "ranks.slowest_work_seconds"
OTHERS = "ranks.others_work_seconds"
STEP = "ranks.step_seconds"


@check(
    "ranks-diverged",
    title="Ranks train different models",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=(DIVERGED,),
    section="",
)
def ranks_diverged(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The ranks of a data parallel training no longer hold the same parameters.

    ## What it does
    Every rank takes a sum over the bits of each trainable parameter when a window ends, and rank 0 compares. Ranks that
    began alike, to the bit, and differ in the latest window are reported. Sharded models (FSDP, ZeRO, tensor parallel)
    are exempt, and so are ranks that never were alike: there each is meant to hold its own.

    ## Why it matters
    Gradients are averaged so that all ranks take the same step. Once they differ, each trains a model of its own on its
    part of the data, and the checkpoint of rank 0 has seen no more than that: the other GPUs work for nothing.

    ## How to fix it
    Call the wrapped model in the training step, not the module inside it, and change parameters on all ranks alike.

    ```python
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    loss = criterion(ddp(x), y)  # model(x) or ddp.module(x) would skip the averaging of gradients
    ```
    """
    column = run.column(DIVERGED)
    apart = column.values[column.finite] > 0
    if not apart[-1:].any():
        return
    # Ranks that are made alike from time to time (local SGD) have met again since: the latest stretch counts.
    stretch = apart.size if apart.all() else int(np.argmin(apart[::-1]))
    row, last = int(column.finite[-stretch]), int(column.finite[-1])
    epoch, count = _epoch(run, row), int(column.values[last])
    first = int(run.column("ranks.first_diverged").values[row])
    tensors, all_tensors = (run.column(f"ranks.{name}").values[row] for name in ("parameters_diverged", "parameters"))
    yield Finding(
        description=f"Since epoch {epoch} rank {first} holds other parameters than rank 0: {tensors:.0f} of "
        f"{all_tensors:.0f} tensors differ{f'; so do {count - 1} more ranks' if count > 1 else ''}.",
        epoch=epoch,
        key=DIVERGED,
        value=count,
        evidence={"series": [DIVERGED], "epochs": [epoch], "values": [count], "rank": first},
    )


@check(
    "rank-straggler",
    title="One rank holds up the others",
    category=IssueCategory.throughput,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(WORK, OTHERS, STEP),
    section="",
)
def rank_straggler(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """One rank takes longer for its part of each step, and all others wait for it.

    ## What it does
    Steps of a data parallel training last equally long on all ranks, since each waits for the slowest in the backward
    pass. So every rank takes the time before that wait: from the end of the optimizer's step to the end of the forward
    pass, the median over the steps of a window. A rank that needs 20 % longer for it than the median of the others is a
    straggler where that is 15 % of a step. The robust profile asks for a millisecond, and for the same rank in three
    windows and in half of them.

    ## Why it matters
    The whole job runs at the pace of its slowest rank.

    ## How to fix it
    Look at that rank's machine first: its loader (slower disk, fewer cores, longer samples), other programs, a GPU that
    is too hot.

    ```bash
    nvidia-smi --query-gpu=index,clocks.sm,temperature.gpu,clocks_throttle_reasons.active --format=csv
    ```
    """
    yield from _stragglers(run, limits, _slow(run, limits))


@rank_straggler.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    lag, slow = _lag(run), _slow(run, limits)
    for found in _stragglers(run, limits, slow):
        lasting = slow & (lag >= limits.straggler_seconds) & (run.column("ranks.slowest").values == found.value)
        windows, told = int(lasting.sum()), int(np.isfinite(lag).sum())
        if windows < limits.straggler_windows or windows < limits.straggler_windows_pct * told:
            found.suppressed = f"rank {found.value} was slow by a millisecond a step in {windows} of {told} windows"
        yield found


def _lag(run: Run) -> Floats:
    lag: Floats = run.column(WORK).values - run.column(OTHERS).values
    return lag


def _slow(run: Run, limits: DiagnosticThresholds) -> Bools:
    work, others, step = (run.column(name).values for name in (WORK, OTHERS, STEP))
    slow: Bools = (work >= limits.straggler_ratio * others) & (_lag(run) >= limits.straggler_pct * step)
    return slow


def _stragglers(run: Run, limits: DiagnosticThresholds, slow: Bools) -> Iterator[Finding]:
    rows = np.flatnonzero(slow)
    if not rows.size:
        return
    slowest = run.column("ranks.slowest").values
    ranks, counts = np.unique(slowest[rows], return_counts=True)
    worst = int(ranks[np.argmax(counts)])
    rows = rows[slowest[rows] == worst]
    lag, step = median(_lag(run)[rows]), median(run.column(STEP).values[rows])
    share = lag / step if step > 0 else 1.0
    first = _epoch(run, int(rows[0]))
    yield Finding(
        description=f"Rank {worst} works {1000 * lag:.3g} ms longer on each step than the other ranks, which is "
        f"{share:.0%} of a step, from epoch {first} on.",
        key=WORK,
        value=worst,
        evidence=evidence(
            [WORK, OTHERS],
            [_epoch(run, int(row)) for row in rows[:20]],
            run.column(WORK).values[rows[:20]].tolist(),
            limits,
            "straggler_pct",
        )
        | {"rank": worst, "lag_seconds": lag, "step_seconds": step},
    )


def _epoch(run: Run, row: int) -> int:
    """Return which epoch the ranks told of: word of it arrives an epoch later at times."""
    told = run.column("ranks.epoch").values[row]
    return int(told) if np.isfinite(told) else int(run.epochs[row])
