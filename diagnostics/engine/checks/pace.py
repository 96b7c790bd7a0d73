"""Checks on the time that single steps take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.curves import Bools, Floats, Ints, median, ratio, robust_sigma
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

WAIT = "throughput.data_wait_share"
STEP = "steps.seconds_mean"
_BLOCKS = 40
_LEAST_BLOCKS = 20
# Fewer give no small p-value, whatever happened.


@check(
    "input-bound",
    title="Training waits for data",
    category=IssueCategory.throughput,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(WAIT,),
    section="",
)
def input_bound(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The loader is slower than the model.

    ## What it does
    Takes the share of the steps' time that was spent waiting for batches: exact where they come through
    ``obs.data(loader)``, else the time from the end of a step to the next forward pass, of sampled steps. More than
    20 % is a finding. The robust profile asks for 20 waits, two milliseconds each, in three of ten epochs and most of
    the last third, that cost a tenth of the time of the whole run, since short epochs are mostly the start of their
    loader; and the GPU, where its load is known, must not be busy meanwhile.

    ## Why it matters
    The processor that trains stands idle for that time. It is often the cheapest speed-up there is.

    ## How to fix it
    Load in more worker processes, ahead of time, into pinned memory; decode and resize once instead of every epoch.

    ```python
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=64, num_workers=4, prefetch_factor=4, pin_memory=True, persistent_workers=True
    )
    ```
    """
    share = run.column(WAIT).values
    for row in np.flatnonzero(share > limits.input_wait_pct):
        epoch, seconds = int(run.epochs[row]), _wait_of_step(run)[row]
        each = f", {1000 * seconds:.3g} ms a step" if np.isfinite(seconds) else ""
        yield Finding(
            description=f"In epoch {epoch} {share[row]:.0%} of the time went by waiting for data{each}.",
            epoch=epoch,
            key=WAIT,
            value=float(share[row]),
            evidence=evidence([WAIT], [epoch], [float(share[row])], limits, "input_wait_pct"),
        )


@input_bound.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    findings = list(input_bound.rule(run, limits))
    if not findings:
        return
    share, waits = run.column(WAIT), run.column("throughput.data_wait_steps").values
    seconds, load = _wait_of_step(run), run.column("system.gpu_percent").values
    counted = share.values > limits.input_wait_pct
    counted &= ~(seconds < limits.input_wait_seconds) & ~(load >= limits.busy_gpu_percent)
    often = bool(counted.sum() >= limits.input_wait_epochs_pct * share.finite.size)
    known = float(np.nansum(waits[counted])) if np.isfinite(waits).any() else math.inf
    whole, late = _waited_of_run(run), counted[share.finite][-max(1, share.finite.size // 3) :]
    row_of = {int(epoch): row for row, epoch in enumerate(run.epochs)}
    for found in findings:
        row = row_of[found.epoch or 0]
        if seconds[row] < limits.input_wait_seconds:
            found.suppressed = f"{1000 * seconds[row]:.2g} ms a step are what any loop takes"
        elif load[row] >= limits.busy_gpu_percent:
            found.suppressed = f"the GPU is busy meanwhile ({load[row]:.0f} %)"
        elif whole < limits.input_wait_run_pct:
            found.suppressed = f"{whole:.0%} of the time of the run"
        elif not often:
            found.suppressed = f"{counted.sum()} of {share.finite.size} epochs waited so"
        elif not np.count_nonzero(late) * 2 > late.size:
            found.suppressed = "now and then only: the last third of the epochs mostly did not wait"
        elif known < limits.input_wait_steps:
            found.suppressed = f"{known:.0f} waits are too few to judge"
        yield found


def _waited_of_run(run: Run) -> float:
    """Return the share of the time of all epochs that went by waiting; 1 where durations are not known."""
    share, seconds = run.column(WAIT).values, run.column("duration_seconds").values
    known = np.isfinite(share) & np.isfinite(seconds)
    spent = float(seconds[known].sum())
    return float((share * seconds)[known].sum()) / spent if spent > 0 else 1.0


def _wait_of_step(run: Run) -> Floats:
    """Return how long a step waited, in seconds; NaN where that is not known."""
    pace = run.column("throughput.batches_per_second").values
    sampled = run.column("phases.data_seconds").values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pace > 0, run.column(WAIT).values / pace, sampled)


@check(
    "slow-step",
    title="Single slow steps",
    category=IssueCategory.throughput,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(STEP,),
    section="",
)
def slow_step(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Single steps take many times as long as usual, and it adds up.

    ## What it does
    Compares the time of each step (or bucket of steps) with the median of the run; three times as long is slow. The
    first of each epoch does not count: it starts workers and compiles. Reported if three or more cost more than 5 % of
    the time beyond what is usual, and a second at least. The robust profile asks that they stand out of the jitter and
    are at most one in twenty: on a crowded machine every third step may be slow, and none is to blame.

    ## Why it matters
    A step that stalls now and then is a checkpoint, a garbage collection, a disk or a network that others use, too.

    ## How to fix it
    See what else happens at those steps; save checkpoints in the background, and less often.

    ```python
    torch.distributed.checkpoint.async_save(state, checkpoint_id=path)
    ```
    """
    times = _step_times(run)
    usual = median(times.seconds) if times.seconds.size else math.nan
    slow = times.seconds > limits.slow_step_ratio * usual
    beyond = float(((times.seconds - usual) * times.counts)[slow].sum()) if slow.any() else 0.0
    whole = float((times.seconds * times.counts).sum())
    if slow.sum() < limits.slow_steps or beyond < limits.slow_step_seconds or beyond < limits.slow_step_pct * whole:
        return
    worst = int(np.argmax(times.seconds))
    step = times.first[worst]
    where = f"step {step:.0f}" if np.isfinite(step) else f"a step of epoch {run.epochs[times.rows[worst]]}"
    yield Finding(
        description=f"{slow.sum()} of {slow.size} buckets of steps took {limits.slow_step_ratio:g} times the usual "
        f"{usual:.3g} s and more, together {beyond:.3g} s beyond it ({beyond / whole:.0%} of the time); the slowest, "
        f"{where}, took {times.seconds[worst]:.3g} s.",
        key=STEP,
        value=float(times.seconds[worst]),
        evidence=evidence([STEP], [], [float(times.seconds[worst])], limits, "slow_step_ratio")
        | {"usual": usual, "step": float(step) if np.isfinite(step) else None},
    )


@slow_step.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in slow_step.rule(run, limits):
        seconds = _step_times(run).seconds
        usual, jitter = median(seconds), robust_sigma(np.log(seconds))
        share = float(np.mean(seconds > limits.slow_step_ratio * usual))
        if math.log(limits.slow_step_ratio) <= limits.slow_step_z * jitter:
            found.suppressed = f"steps jitter by {jitter:.0%}, so slow ones are no exception"
        elif share > limits.slow_steps_pct:
            found.suppressed = f"{share:.0%} of the steps are slow, so these are no exception"
        yield found


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Time of a step by bucket, without the first bucket of each epoch: arrays of one length."""

    seconds: Floats
    rows: Ints
    first: Floats
    counts: Floats


@once
def _step_times(run: Run) -> StepTimes:
    series = run.steps("seconds_mean")
    size = series.values.size
    counts, first = (run.steps(name).values.astype(np.float64) for name in ("count", "first"))
    counts = counts if counts.size == size else np.ones(size)
    first = first if first.size == size else np.full(size, np.nan)
    kept: Bools = np.isfinite(series.values) & (series.values > 0) & np.isfinite(counts) & (counts > 0)
    kept[1:] &= series.rows[1:] == series.rows[:-1]
    kept[:1] = False
    return StepTimes(series.values[kept].astype(np.float64), series.rows[kept], first[kept], counts[kept])


@check(
    "fail-slow",
    title="Training has become slower for good",
    category=IssueCategory.throughput,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(STEP,),
    section="",
)
def fail_slow(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """From one point on every step takes a little longer.

    ## What it does
    Takes the median time of a step in each epoch (in parts of long epochs), searches for the point where it changes
    (Pettitt's test, Applied Statistics 28 (1979) 126) and verifies the change as FALCON does: 10 % more than before,
    to the end of the run. The robust profile asks that the rise stands out of the jitter on both sides and that the
    batches stayed as large; of a run whose parts take less than a second it is information, since that measures the
    scheduler of the machine, and so it is as long as less than a minute was lost.

    ## Why it matters
    A processor that throttles, a neighbor on the machine or a disk that fills up costs a tenth of the time for days,
    and no single epoch is slow enough to be seen.

    ## How to fix it
    Look at temperature and clock of the processors and at other processes on the machine; restart on another one.

    ```bash
    nvidia-smi --query-gpu=temperature.gpu,clocks.sm,clocks_throttle_reasons.active --format=csv --loop=5
    ```
    """
    change = _change(run, limits)
    if change is None:
        return
    epoch = int(run.epochs[change.row])
    yield Finding(
        description=f"From epoch {epoch} on a step takes {change.after:.4g} s instead of {change.before:.4g} s, "
        f"{change.after / change.before - 1:.0%} more.",
        epoch=epoch,
        key=STEP,
        value=change.after,
        evidence=evidence([STEP], [epoch], [change.after], limits, "fail_slow_pct")
        | {"before": change.before, "p_value": change.p_value},
    )


@fail_slow.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    change = _change(run, limits)
    for found in fail_slow.rule(run, limits):
        if change is None:
            continue
        rise = math.log(change.after / change.before)
        if rise <= limits.fail_slow_jitter * change.jitter:
            found.suppressed = f"a rise of {math.expm1(rise):.0%} is within the jitter of {change.jitter:.0%}"
        elif change.larger_batches:
            found.suppressed = "the batches have become larger"
        elif change.block_seconds < limits.short_epoch_seconds or change.lost_seconds < limits.slow_run_seconds:
            found.severity = IssueSeverity.info
        yield found


@dataclass(frozen=True, slots=True)
class _Change:
    """Where the time of a step changed for good; ``row`` is the first epoch after it."""

    row: int
    before: float
    after: float
    jitter: float
    """Of the logarithm."""
    p_value: float
    block_seconds: float
    lost_seconds: float
    larger_batches: bool


@once
def _change(run: Run, limits: DiagnosticThresholds) -> _Change | None:
    times = _step_times(run)
    blocks, rows, seconds = _blocks(times)
    if blocks.size < _LEAST_BLOCKS:
        return None
    at, p_value = _pettitt(blocks)
    lasting = max(3, blocks.size // 5)
    if p_value >= limits.fail_slow_p_value or at < lasting or blocks.size - at < lasting:
        return None
    before, after, end = (median(part) for part in (blocks[:at], blocks[at:], blocks[-3:]))
    if min(after, end) < before * (1 + limits.fail_slow_pct):
        return None
    logs = np.log(blocks)
    return _Change(
        row=int(rows[at]),
        before=before,
        after=after,
        jitter=max(robust_sigma(logs[:at]), robust_sigma(logs[at:])),
        p_value=p_value,
        block_seconds=median(seconds),
        lost_seconds=float(seconds[at:].sum()) * (1 - before / after),
        larger_batches=_larger_batches(run, int(rows[at])),
    )


def _blocks(times: StepTimes) -> tuple[Floats, Ints, Floats]:
    """Return the median time of a step by block, the epoch's row and the seconds of each block."""
    epochs = np.unique(times.rows)
    if epochs.size >= _BLOCKS:
        cuts = [np.flatnonzero(times.rows == row) for row in epochs]
    else:
        cuts = [part for part in np.array_split(np.arange(times.rows.size), _BLOCKS) if part.size >= 3]
    return (
        np.array([median(times.seconds[cut]) for cut in cuts]),
        np.array([times.rows[cut[0]] for cut in cuts], np.int64),
        np.array([(times.seconds[cut] * times.counts[cut]).sum() for cut in cuts]),
    )


def _pettitt(values: Floats) -> tuple[int, float]:
    """Return where ``values`` rise for good, and the one-sided p-value of that."""
    size = values.size
    ranks = np.argsort(np.argsort(values, kind="stable")) + 1.0
    splits = np.arange(1, size)
    score = splits * (size + 1) - 2 * np.cumsum(ranks)[:-1]
    at = int(np.argmax(score))
    height = max(0.0, float(score[at]))
    return at + 1, math.exp(-6 * height**2 / (size**3 + size**2))


def _larger_batches(run: Run, row: int) -> bool:
    samples = ratio(run.column("throughput.samples_processed").values, run.column("loss.n_batches").values)
    before, after = samples[:row], samples[row:]
    known = bool(np.isfinite(before).any() and np.isfinite(after).any())
    return known and bool(np.nanmedian(after) > 1.02 * np.nanmedian(before))
