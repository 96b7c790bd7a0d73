"""The check on the learning rate's schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Floats, Ints, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.reading import number
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import planned_epochs
from diagnostics.engine.thresholds import DiagnosticThresholds

RATE = "learning_rate"
_TOLD = ("learning_rate", "lr", "max_lr", "base_lr", "peak_lr")
_NOTHING = 1e-6
# Part of the highest rate that moves nothing any more.
_BESIDE = 8
# Buckets of steps before and after a jump that are compared.


@dataclass(frozen=True, slots=True)
class _Course:
    """The rate over the run, by buckets of steps or by epochs, with the loss beside it (NaN where unknown)."""

    rate: Floats
    loss: Floats
    rows: Ints


@check(
    "learning-rate-schedule",
    title="Learning rate schedule",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=("learning_rate | steps.learning_rate",),
    section="",
)
def learning_rate_schedule(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The schedule of the learning rate does not fit the run.

    ## What it does
    Looks at the logged rate, by steps where they were logged, for three things that no plan asks for:

    - it is zero (less than a millionth of its peak) for the last fifth of the run or longer, while the layers do not
      move: the schedule was made for fewer steps. From half of the run on that is critical: most of it trained nothing.
      Three logged steps are enough where all of them have a rate and a gradient of exactly zero.
    - it still rises when the run ends, five times over and by a fifth in the last quarter: a warm-up that is advanced
      once an epoch where once a step is meant never ends, and one that multiplies where it should divide makes the loss
      diverge. It is information as long as nobody knows that the run is over (the hyperparameters do not say for how
      many epochs it was planned) and the loss does not rise with it.
    - it jumps to ten times all that it was before, from one step to the next, and the loss follows. Warm restarts go
      back to the old peak, so they are no jumps.

    ## Why it matters
    The rate decides what each step is worth. At zero the run burns compute, at a hundredth of the plan it crawls, and
    at ten times the plan it loses in a few steps what it had learned.

    ## How to fix it
    Give the schedule the number of optimizer steps of the whole run, and advance it once after each of them.

    ```python
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=epochs * len(loader))
    for batch in loader:
        ...
        optimizer.step()
        scheduler.step()  # here, not once an epoch
    ```

    Lightning calls this `interval="step"`; its default is the epoch.
    """
    course = _course(run)
    if course.rate.size >= limits.short_history:
        for look in (_spent, _endless, _jump):
            yield from look(run, limits, course)
    elif course.rate.size >= limits.recovery_epochs and not course.rate.any() and _no_gradient(run):
        yield from _spent(run, limits, course)


def _no_gradient(run: Run) -> bool:
    norms = run.column("gradients.norm_max")
    return bool(norms) and not np.any(norms.values[norms.seen])


@once
def _course(run: Run) -> _Course:
    rate, loss = run.steps("learning_rate"), run.steps("loss_mean")
    if np.count_nonzero(np.isfinite(rate.values)) > len(run):
        same = loss.values.size == rate.values.size
        beside = loss.values if same else np.full(rate.values.size, np.nan)
        known = np.isfinite(rate.values)
        return _Course(rate.values[known].astype(np.float64), beside[known].astype(np.float64), rate.rows[known])
    column = run.column(RATE)
    return _Course(column.values[column.finite], run.column(TRAIN).values[column.finite], column.finite)


def _spent(run: Run, limits: DiagnosticThresholds, course: _Course) -> Iterator[Finding]:
    rate = np.abs(course.rate)
    moving = np.flatnonzero(rate > _NOTHING * rate.max())
    first = int(moving[-1]) + 1 if moving.size else 0
    share = 1 - first / rate.size
    if share < limits.rate_zero_pct or _still_moves(run, int(course.rows[min(first, rate.size - 1)]) + 1):
        return
    epoch = int(run.epochs[course.rows[first]])
    begun = f"from epoch {epoch} on" if first else "in the whole run"
    yield Finding(
        title="Learning rate of zero",
        description=f"The learning rate is zero {begun}: {share:.0%} of the steps changed nothing.",
        epoch=epoch,
        key=RATE,
        value=float(course.rate[-1]),
        severity=IssueSeverity.critical if share >= limits.rate_zero_critical_pct else None,
        evidence=evidence([RATE, TRAIN], [epoch], [float(course.rate[-1])], limits, "rate_zero_pct") | {"share": share},
    )


def _still_moves(run: Run, row: int) -> bool:
    """Return whether layers were seen to move from ``row`` on: then it is another group's rate that counts."""
    moved = run.layer_matrix("update_ratio").values[row:]
    return bool(np.any(moved[np.isfinite(moved)] > 0))


def _endless(run: Run, limits: DiagnosticThresholds, course: _Course) -> Iterator[Finding]:
    rate = course.rate
    begun, late, last = float(rate[0]), float(rate[int(0.75 * rate.size)]), float(rate[-1])
    grown = last >= limits.rate_growth_ratio * begun and last > 1.2 * late and last >= float(rate.max())
    if not grown or np.any(np.diff(rate) < -1e-3 * last) or len(run) < limits.short_history:
        return
    told = next((value for name in _TOLD if (value := number(run.hyperparameters.get(name)))), None)
    short = f", and never came near the {told:.3g} that is told of it" if told and last < told / 2 else ""
    hurts, over = _loss_rises(run, limits), _is_over(run)
    yield Finding(
        title="Learning rate rises to the end",
        description=f"The learning rate rose from {begun:.3g} to {last:.3g} and still does when the run ends{short}"
        + ("; the loss rises with it." if hurts else "."),
        epoch=int(run.epochs[course.rows[0]]),
        key=RATE,
        value=last,
        severity=None if over or hurts else IssueSeverity.info,
        evidence=evidence([RATE, TRAIN], run.epochs.tolist(), [begun, last], limits, "rate_growth_ratio"),
    )


def _is_over(run: Run) -> bool:
    planned = planned_epochs(run)
    return planned is not None and len(run) >= planned


def _loss_rises(run: Run, limits: DiagnosticThresholds) -> bool:
    column = run.column(TRAIN)
    loss = column.values[column.finite]
    if loss.size < limits.short_history:
        return False
    lost = float(median(loss[-3:]) - loss.min())
    return bool(lost > limits.explosion_descent_pct * float(loss[0] - loss.min()) and lost > 0)


def _jump(run: Run, limits: DiagnosticThresholds, course: _Course) -> Iterator[Finding]:
    rate, loss = np.abs(course.rate), course.loss
    highest = np.maximum.accumulate(rate)[:-1]
    # A warm-up may begin with a jump: what it had before is no plan yet.
    start = max(3, rate.size // 20)
    for at in np.flatnonzero((rate[1:] > limits.rate_jump_ratio * highest) & (highest > 0))[:50] + 1:
        before, after = loss[max(0, at - _BESIDE) : at], loss[at : at + _BESIDE]
        before = before[np.isfinite(before)]
        if at < start or not before.size or not after.size:
            continue
        level = median(before)
        scale = max(abs(level), limits.loss_floor_pct * abs(float(loss[np.isfinite(loss)][0])))
        if not np.isfinite(after).all() or float(after.max()) - level > scale:
            epoch = int(run.epochs[course.rows[at]])
            yield Finding(
                title="Learning rate jumps",
                description=f"In epoch {epoch} the learning rate jumped from {course.rate[at - 1]:.3g} to "
                f"{course.rate[at]:.3g}, and the loss from {level:.4g} to {after.max():.4g}.",
                epoch=epoch,
                key=RATE,
                value=float(course.rate[at]),
                evidence=evidence([RATE, TRAIN], [epoch], [float(course.rate[at])], limits, "rate_jump_ratio"),
            )
            return
