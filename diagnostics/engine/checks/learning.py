"""The check on runs that learn nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN, doubt, is_at_chance, knew_its_task, learned_the_little
from diagnostics.engine.checks.start import first_steps
from diagnostics.engine.curves import Floats, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import ACCURACY, game_of, task_of, trained_before
from diagnostics.engine.thresholds import DiagnosticThresholds

_LONG = 12
# Validations from which the first three together are still the beginning.


@check(
    "not-learning",
    title="The model does not learn",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(TRAIN,),
    section="",
)
def not_learning(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The run ends no better than it began.

    ## What it does
    From five epochs on, compares the last losses with the first, that of the very first step where steps were logged.
    A run that has gained less than noise (three standard errors) or less than 5 % has learned nothing, unless it
    began with a trained model, or its validation gets better. So has a classifier whose validation accuracy ends at
    that of guessing, however far its loss came. Data that are mostly noise leave little to gain: where training and
    validation loss both fall, by a significant trend (Mann-Kendall, p < 0.01) or by five standard deviations of their
    noise, and flatten, the run has learned what there is.

    It is critical where a second witness says that nothing at all was learned: a validation that did not get better
    either, or a loss that is still that of guessing. What such a run leaves is worth no more than the weights it began
    with. It is information where the hyperparameters tell that the model had been trained before: then there may be
    little left to learn. Of adversarial and reinforcement training, where the loss need not fall, it says nothing.

    ## Why it matters
    Everything the run costs is wasted. Parameters that never change, gradients that do not arrive, labels that do not
    belong to their samples and a learning rate far off all look like this.

    ## How to fix it
    Train on a single batch first: a model that cannot learn that by heart has a bug, not a wrong setting.

    ```python
    x, y = next(iter(loader))
    for step in range(200):
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    ```
    """
    column = run.column(TRAIN)
    loss = column.values[column.finite]
    if loss.size < limits.short_history:
        return
    said = _no_better(run, limits, loss)
    guesses = is_at_chance(run, limits)
    if guesses:
        said = "The validation accuracy ends at that of guessing"
    if said is not None and not game_of(run):
        known = trained_before(run) is not None and not guesses
        worthless = IssueSeverity.critical if guesses or _learned_nothing(run, limits, loss) else None
        yield Finding(
            description=f"{said}: the training loss went from {loss[0]:.4g} to {loss[-1]:.4g} in {loss.size} epochs.",
            key=TRAIN,
            value=float(loss[-1]),
            severity=IssueSeverity.info if known else worthless,
            evidence=evidence([TRAIN], [], [], limits, "stuck_improvement_pct"),
        )


def _learned_nothing(run: Run, limits: DiagnosticThresholds, loss: Floats) -> bool:
    """Return whether a second witness stands by: validation, which did not get better either, or a loss of guessing."""
    chance = task_of(run).chance
    validated = max(run.column(name).finite.size for name in ("loss.val.val_loss", ACCURACY))
    guessing = chance is not None and median(loss[-3:]) > (1 - limits.stuck_improvement_pct) * chance
    return bool(guessing or validated >= limits.recovery_epochs)


def _no_better(run: Run, limits: DiagnosticThresholds, loss: Floats) -> str | None:
    steps = first_steps(run)
    start = max(float(loss[0]), median(steps[:3])) if np.isfinite(steps[:3]).all() and steps.size else loss[0]
    learned = float(start - median(loss[-3:]))
    noisy = limits.stuck_improvement_se * median(doubt(run, slice(0, len(run) // 2)))
    enough = max(noisy, limits.stuck_improvement_pct * abs(float(start)))
    best = float(start - loss.min())
    if learned > enough or best > 2 * enough or knew_its_task(run, limits) or _validation_improves(run, limits):
        return None
    if learned_the_little(run, limits):
        return None
    return "The run ends no better than it began"


def _validation_improves(run: Run, limits: DiagnosticThresholds) -> bool:
    val, accuracy = (run.column(name) for name in ("loss.val.val_loss", "loss.val.val_acc"))
    known, right = val.values[val.finite], accuracy.values[accuracy.finite]
    falls = known.size >= 2 and _begun(known) - median(known[-3:]) > limits.stuck_improvement_pct * abs(known[0])
    return bool(falls or (right.size >= 2 and median(right[-3:]) - _begun(right) > limits.chance_margin_pct))


def _begun(values: Floats) -> float:
    """Return where a curve began: a single value may be luck, where there are enough to see that."""
    return median(values[:3]) if values.size >= _LONG else float(values[0])
