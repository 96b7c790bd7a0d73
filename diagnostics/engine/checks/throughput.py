"""Checks on the speed of training."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Floats, median, noise, ratio, robust_sigma, smooth
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

SPEED = "throughput.samples_per_second"
DURATION = "duration_seconds"


@check(
    "throughput-degradation",
    title="Throughput degradation",
    category=IssueCategory.throughput,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(SPEED,),
    section="5.7",
)
def throughput_degradation(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Training has become slower than it was.

    ## What it does
    Compares the samples per second of each epoch with the fastest epoch before it; more than 20 % below is a drop. The
    robust profile compares with the usual speed instead of the luckiest epoch, asks that the drop stands out of the
    run's own jitter and lasts to the end: in runs of ten epochs and more, and where epochs take less than a second, for
    three epochs and a fifth of the run. It is information as long as it has cost less than a minute, and of such quick
    epochs unless the drop is 60 %.

    ## Why it matters
    The same training takes longer and costs more. Something beside the model takes the time: another process, a disk,
    a data loader, a processor that gets too hot.

    ## How to fix it
    Look for other processes on the machine, give the data loader more workers, and check disk and network speed.

    ```python
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, num_workers=4, pin_memory=True)
    ```
    """
    speed = run.column(SPEED).values
    peak = np.fmax.accumulate(speed)
    drop = 1 - ratio(speed, peak)
    for row in np.flatnonzero(drop > limits.throughput_drop_pct):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"Epoch {epoch} ran at {speed[row]:.4g} samples/s, {drop[row]:.0%} below the peak of "
            f"{peak[row]:.4g}.",
            epoch=epoch,
            key=SPEED,
            value=float(speed[row]),
            evidence=evidence([SPEED], [epoch], [float(speed[row])], limits, "throughput_drop_pct")
            | {"peak": float(peak[row]), "drop": float(drop[row])},
        )


@throughput_degradation.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    findings = list(throughput_degradation.rule(run, limits))
    if not findings:
        return
    column, seconds = run.column(SPEED), run.column(DURATION)
    speed, known = column.values[column.finite], seconds.values[seconds.finite]
    quick = bool(known.size and median(known) < limits.short_epoch_seconds)
    sustained = _sustained(speed.size, quick, limits)
    reason = _not_slower(speed, sustained, limits)
    cost_little = reason is None and _lost_seconds(run) < limits.slow_run_seconds
    for found in findings:
        found.suppressed = reason
        small = quick and reason is None and _end_drop(speed, sustained) < limits.short_epoch_drop_pct
        if small or cost_little:
            found.severity = IssueSeverity.info
        yield found


def _lost_seconds(run: Run) -> float:
    """Return how much longer the epochs took than they would have at the usual speed; infinite if nobody knows."""
    speed, seconds = run.column(SPEED).values, run.column(DURATION).values
    known = np.isfinite(speed) & np.isfinite(seconds)
    if not known.any():
        return math.inf
    usual = median(speed[known][: max(1, np.count_nonzero(known) // 2)])
    return float(np.sum(seconds[known] * np.maximum(0.0, 1 - speed[known] / usual))) if usual > 0 else math.inf


def _sustained(length: int, quick: bool, limits: DiagnosticThresholds) -> int:
    """Return how many epochs at the end of the run must be slow."""
    if quick or length >= limits.throughput_sustained_from:
        return max(limits.throughput_sustained_epochs, int(length * limits.throughput_sustained_pct))
    return 1


def _ends(speed: Floats, sustained: int) -> tuple[float, float]:
    """Return the speed at the end of the run and the usual one before.

    The usual one is the best of medians of three: a single fast epoch is luck, not what the machine can do.
    """
    before = speed[:-sustained]
    inner = smooth(before)[1:-1]
    return float(np.max(speed[-sustained:])), float(np.max(inner) if inner.size else median(before))


def _end_drop(speed: Floats, sustained: int) -> float:
    now, usual = _ends(speed, sustained)
    return 1 - now / usual if usual > 0 else 0.0


def _not_slower(speed: Floats, sustained: int, limits: DiagnosticThresholds) -> str | None:
    if speed.size < limits.short_history:
        return None if sustained == 1 else f"{speed.size} epochs of less than a second say little about the speed"
    now, usual = _ends(speed, sustained)
    if now >= usual * (1 - limits.throughput_drop_pct):
        return f"the run ends at {now:.4g} samples/s, against a usual {usual:.4g}"
    # Speeds jitter by a factor, not by an amount: only in logarithms a fall to a tenth is more than one to a half.
    pace = np.log(np.maximum(speed, np.finfo(float).tiny))
    jitter = max(noise(pace), noise(pace[:-sustained]))
    if now > 0 and np.log(usual / now) <= limits.throughput_z * jitter:
        return f"the drop to {now:.4g} from a usual {usual:.4g} samples/s is within the jitter of {jitter:.0%}"
    return None


@check(
    "slow-epoch",
    title="Slow epoch",
    category=IssueCategory.throughput,
    severity=IssueSeverity.info,
    scope=Scope.epoch,
    needs=(DURATION,),
    section="5.9",
)
def slow_epoch(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """An epoch took much longer than usual.

    ## What it does
    Compares the duration of each epoch with the median of all; more than one and a half times is slow. The robust
    profile leaves out the first epoch, which compiles and fills caches, and asks for five epochs and a duration that
    stands out of the run's own jitter.

    ## Why it matters
    A single slow epoch is often a checkpoint, an evaluation or a neighbor on the machine. If it repeats, the time is
    worth finding.

    ## How to fix it
    See what else happened in that epoch: checkpoints, evaluation, other jobs, a full disk.
    """
    duration = run.column(DURATION)
    usual = median(duration.values[duration.finite]) if duration.finite.size else np.nan
    times = ratio(duration.values, np.full(len(run), usual))
    for row in np.flatnonzero(times > limits.slow_epoch_ratio):
        epoch, seconds = int(run.epochs[row]), float(duration.values[row])
        yield Finding(
            description=f"Epoch {epoch} took {seconds:.4g} s, {times[row]:.2g} times the median of {usual:.4g} s.",
            epoch=epoch,
            key=DURATION,
            value=seconds,
            evidence=evidence([DURATION], [epoch], [seconds], limits, "slow_epoch_ratio") | {"median": float(usual)},
        )


@slow_epoch.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    column = run.column(DURATION)
    duration = column.values[column.finite]
    findings = list(slow_epoch.rule(run, limits))
    jitter = robust_sigma(duration) if findings else 0.0
    for found in findings:
        above = found.value - found.evidence["median"]
        if found.epoch == int(run.epochs[0]):
            found.suppressed = "the first epoch compiles and fills caches"
        elif duration.size < limits.short_history:
            found.suppressed = f"{duration.size} epochs are too few to know the usual duration"
        elif above <= limits.slow_epoch_z * jitter:
            found.suppressed = f"{above:.3g} s above the median is within the run's jitter of {jitter:.3g} s"
        yield found
