"""The check on a training loss that keeps rising."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN, descent_before, doubt
from diagnostics.engine.curves import Floats, median, rise_p_value, slope
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.stages import NEW_STAGE, begins_stage
from diagnostics.engine.stepwise import lasting_rise
from diagnostics.engine.task import game_of
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "loss-divergence",
    title="Loss divergence detected",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(TRAIN,),
    section="5.1",
)
def loss_divergence(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The training loss goes up for several epochs in a row.

    ## What it does
    Looks for two epochs in a row whose mean training loss is higher than that of the epoch before, and reports the
    first such place. The robust profile also asks that the rise is larger than noise (five standard errors), worth a
    word (5 % of the level, a tenth of what had been gained) and not half won back within three epochs; while the
    learning rate is being raised the finding is information only. It adds a search for a slow rise at the end of the
    run, which single steps hide, and in runs of fewer than five epochs looks at the logged steps: losses that stay at
    twice the lowest level for a quarter of the run.

    ## Why it matters
    The optimizer is supposed to bring the training loss down. When it keeps rising, each step does more harm than
    good, and the epochs after it are spent on getting worse.

    ## How to fix it
    Lower the learning rate, or let a scheduler lower it.

    ```python
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    ```

    If that does not help, look for batches with extreme or missing values and clip the gradients.
    """
    loss = run.column(TRAIN).values
    for base, _ in _streaks(loss, limits.divergence_epochs)[:1]:
        yield _rise(run, limits, base, base + limits.divergence_epochs)


@loss_divergence.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    loss = run.column(TRAIN).values
    for base, peak in _streaks(loss, limits.divergence_epochs):
        found = _rise(run, limits, base, base + limits.divergence_epochs)
        found.suppressed = _no_divergence(run, limits, base, peak) or _only_a_game(run)
        if found.suppressed is None and begins_stage(
            run, limits, base + 1 + int(np.argmax(np.diff(loss[base : peak + 1])))
        ):
            found.suppressed = f"the loss is higher {NEW_STAGE}"
        if found.suppressed is None and _is_warming_up(run, limits, base, peak):
            found.severity = IssueSeverity.info
        yield found
        if found.suppressed is None:
            return
    if not game_of(run):
        yield from _drift(run, limits)
        yield from _by_steps(run, limits)


def _only_a_game(run: Run) -> str | None:
    game = game_of(run)
    return f"the loss says who is ahead: {game!r} is told of the run" if game else None


def _streaks(loss: Floats, length: int) -> list[tuple[int, int]]:
    """Return first and last row of every stretch in which the loss rises ``length`` times in a row or more."""
    up = np.concatenate(([False], loss[1:] > loss[:-1], [False])) if loss.size else np.zeros(2, bool)
    starts, ends = np.flatnonzero(up[1:] & ~up[:-1]), np.flatnonzero(up[:-1] & ~up[1:])
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if b - a >= length]


def _rise(run: Run, limits: DiagnosticThresholds, base: int, row: int) -> Finding:
    loss, epochs = run.column(TRAIN).values, run.epochs
    course = loss[base : row + 1]
    return Finding(
        description=f"The training loss rose {row - base} epochs in a row: {' -> '.join(f'{x:.4g}' for x in course)}.",
        epoch=int(epochs[row]),
        key=TRAIN,
        value=float(loss[row]),
        evidence=evidence([TRAIN], epochs[base : row + 1].tolist(), course.tolist(), limits, "divergence_epochs"),
    )


def _no_divergence(run: Run, limits: DiagnosticThresholds, base: int, peak: int) -> str | None:
    loss = run.column(TRAIN).values
    rise = float(loss[peak] - loss[base])
    margin = float(doubt(run, slice(base + 1, peak + 1))[base])
    bars = {
        "noise": limits.divergence_rise_se * margin,
        f"{limits.divergence_rise_pct:.0%} of the level": limits.divergence_rise_pct * abs(float(loss[base])),
        f"{limits.divergence_descent_pct:.0%} of the descent so far": limits.divergence_descent_pct
        * descent_before(run, base),
    }
    name = max(bars, key=lambda each: bars[each])
    if rise <= bars[name]:
        return f"the rise of {rise:.3g} is not above {bars[name]:.3g} ({name})"
    after = loss[peak + 1 : peak + 1 + limits.recovery_epochs]
    back = np.flatnonzero(after <= loss[base] + rise / 2)
    if back.size:
        return f"half of the rise of {rise:.3g} was won back by epoch {run.epochs[peak + 1 + back[0]]}"
    return None


def _is_warming_up(run: Run, limits: DiagnosticThresholds, base: int, peak: int) -> bool:
    # A schedule that raises the learning rate costs loss for a while; time has to tell whether it comes back.
    rate = run.column("learning_rate").values
    judged = base + limits.divergence_epochs
    return bool(rate[peak] > rate[base]) and len(run) - 1 - judged < limits.recovery_epochs


def _by_steps(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    rise = lasting_rise(run, limits)
    if rise is None or begins_stage(run, limits, rise.row):
        return
    epoch, ended = int(run.epochs[rise.row]), "came back later" if rise.recovered else "did not come back"
    yield Finding(
        description=f"In epoch {epoch} the training loss rose from {rise.low:.4g} to {rise.high:.4g} and more for a "
        f"quarter of the run; it {ended}.",
        epoch=epoch,
        key="steps.loss_mean",
        value=rise.high,
        severity=IssueSeverity.info if rise.recovered else None,
        evidence=evidence(["steps.loss_mean"], [epoch], [rise.high], limits, "loss_explosion_ratio"),
    )


def _drift(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    column = run.column(TRAIN)
    rows = column.finite
    rows = rows[-max(limits.divergence_drift_epochs, int(rows.size * limits.divergence_drift_pct)) :]
    loss = column.values[rows]
    if loss.size < limits.divergence_drift_epochs or loss[-1] <= loss[0]:
        return
    total = slope(loss) * (loss.size - 1)
    least = max(
        limits.divergence_rise_pct * abs(median(loss)),
        limits.divergence_descent_pct * descent_before(run, int(rows[0])),
    )
    if total > least and (p_value := rise_p_value(loss)) < limits.trend_p_value:
        yield Finding(
            description=f"The training loss drifted up by {total:.3g} over the last {loss.size} epochs, from "
            f"{loss[0]:.4g} to {loss[-1]:.4g} (trend p = {p_value:.1g}).",
            epoch=int(run.epochs[rows[0]]),
            key=TRAIN,
            value=float(loss[-1]),
            evidence=evidence([TRAIN], run.epochs[rows].tolist(), loss.tolist(), limits, "trend_p_value"),
        )
