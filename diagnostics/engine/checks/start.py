"""Checks on the first epoch, by its single steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Floats, median
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

STEPS = "steps.loss_mean"


@once
def first_steps(run: Run, series: str = "loss_mean") -> Floats:
    """Return a step series of the first epoch that has one, as logged: NaN and infinity stay."""
    steps = run.steps(series)
    if not steps:
        return np.zeros(0)
    start = int(np.argmax(steps.seen))
    first = slice(start, int(np.searchsorted(steps.rows, steps.rows[start], side="right")))
    return steps.values[first][steps.seen[first]].astype(np.float64)


@once
def blow_up(run: Run, limits: DiagnosticThresholds) -> tuple[float, float] | None:
    """Return first and highest loss of the first epoch if it blew up and the run never got below its start again."""
    steps = first_steps(run)
    known = steps[np.isfinite(steps)]
    if steps.size < limits.blow_up_steps or known.size < 3 or known[0] <= 0:
        return None
    highest = first_steps(run, "loss_max")
    peak = float(max(known.max(), np.max(highest[np.isfinite(highest)], initial=0.0)))
    chance = task_of(run).chance
    # A trained model begins so low that any hard batch is three times its first one.
    usual = max(known[0], limits.blow_up_chance_ratio * chance / limits.blow_up_ratio) if chance else known[:3].max()
    loss = run.column(TRAIN)
    later = loss.values[loss.finite][1:]
    end = median(known[-max(1, known.size // 4) :]) if not later.size else median(later[-3:])
    lost = not np.isfinite(loss.values[loss.seen][-1:]).all()
    stuck = lost or end > limits.blow_up_recovery_pct * known[0]
    return (float(known[0]), peak) if peak > limits.blow_up_ratio * usual and stuck else None


@check(
    "first-epoch-blow-up",
    title="Blow-up in the first epoch",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=(STEPS,),
    section="",
)
def first_epoch_blow_up(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The loss blew up within the first epoch, and the run never recovered.

    ## What it does
    Compares the losses of the first epoch's steps with that of the very first one. A step with three times as much
    is a blow-up if the run ends no better than it began (within a tenth), or in NaN. Means of epochs do not show it:
    they begin when the damage is done. In adversarial and reinforcement training it is information for the robust
    profile: there the loss is no measure of progress.

    ## Why it matters
    The first steps threw the weights far away from where they were useful. What follows looks like a plateau and is
    a model that was destroyed at its start.

    ## How to fix it
    Lower the learning rate tenfold, or raise it slowly over the first few hundred steps.

    ```python
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)
    ```
    """
    found = blow_up(run, limits)
    if found is None:
        return
    first, peak = found
    epoch = int(run.epochs[run.steps("loss_mean").rows[0]])
    yield Finding(
        description=f"Within epoch {epoch} the loss went from {first:.4g} to {peak:.4g} ({peak / first:.3g} times as "
        "much), and the run never got below its start again.",
        epoch=epoch,
        key=STEPS,
        value=peak,
        evidence=evidence([STEPS], [epoch], [peak], limits, "blow_up_ratio") | {"first": first, "ratio": peak / first},
    )


@first_epoch_blow_up.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    yield from first_epoch_blow_up.rule(run, limits)


@check(
    "initial-loss",
    title="Initial loss too high",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(STEPS,),
    section="",
)
def initial_loss(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The very first loss is far above that of guessing.

    ## What it does
    A classifier that knows nothing should guess, which costs the logarithm of the number of classes. Where the number
    of classes is known (from the hyperparameters, or from the last layer of a run that logs an accuracy), a first
    loss of more than three times that is reported, unless the first epoch already brings it down to it: then a wrong
    start has cost little.

    ## Why it matters
    The weights start too large, the inputs are not normalized, or the loss is summed where it should be averaged,
    also over accumulated batches. Training then spends its epochs on undoing that, or steps with a false scale.

    ## How to fix it
    Average the loss over samples and accumulated batches, normalize the inputs, and use the default initialization.

    ```python
    criterion = nn.CrossEntropyLoss()  # not reduction="sum"
    (criterion(model(x), y) / accumulation_steps).backward()
    ```
    """
    chance, steps = task_of(run).chance, first_steps(run)
    if chance is None or steps.size < limits.blow_up_steps or not np.isfinite(steps[0]):
        return
    settled = median(steps[-max(1, steps.size // 4) :])
    if steps[0] > limits.initial_loss_ratio * chance and not settled < chance:
        epoch = int(run.epochs[run.steps("loss_mean").rows[0]])
        first = float(steps[0])
        summed = " Its graph ends in a sum over samples." if (run.column("loop.summed").values > 0).any() else ""
        yield Finding(
            description=f"The first loss is {first:.4g}; guessing costs {chance:.3g}. The first epoch ends at "
            f"{settled:.4g}.{summed}",
            epoch=epoch,
            key=STEPS,
            value=first,
            evidence=evidence([STEPS], [epoch], [first], limits, "initial_loss_ratio") | {"chance": chance},
        )
