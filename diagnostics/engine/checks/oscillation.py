"""The check on progress that is made and thrown away again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.checks.validation import VALIDATION
from diagnostics.engine.curves import median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

_FEWEST_TURNS = 1 / 3


@check(
    "oscillation",
    title="Oscillation",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(VALIDATION,),
    section="",
)
def oscillation(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The validation loss swings up and down instead of settling.

    ## What it does
    Looks at the second half of runs of eight validations and more. The same data are validated each time, so nothing
    but the weights moves that loss: a swing is no sampling noise. It is reported if the usual change from one
    validation to the next is more than a fifth of the level and a twentieth of the loss at the start (or of guessing),
    with turns in both directions and no progress beyond one such swing: a loss that falls by leaps has further to go. A
    loss that only rises is overfitting. Schedules that restart the rate are left out.

    ## Why it matters
    The steps are larger than the valley is wide. What the run leaves depends on the epoch at which it happened to stop.

    ## How to fix it
    Lower the learning rate or the momentum, let the rate decay, or average the weights of the last epochs.

    ```python
    averaged = torch.optim.swa_utils.AveragedModel(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    ```
    """
    column = run.column(VALIDATION)
    rows = column.finite[column.finite.size // 2 :]
    loss = column.values[rows]
    if column.finite.size < limits.oscillation_validations or _restarts(run):
        return
    moves = np.diff(loss)
    turns = np.count_nonzero(moves[1:] * moves[:-1] < 0)
    size, level = median(np.abs(moves)), median(np.abs(loss))
    if turns < _FEWEST_TURNS * (moves.size - 1) or size <= max(
        limits.swing_pct * level, limits.oscillation_scale_pct * _scale(run)
    ):
        return
    if float(np.median(loss[:2]) - np.median(loss[-2:])) > size:
        return
    epochs = run.epochs[rows].tolist()
    yield Finding(
        description=f"In the last {loss.size} validations the loss moved by {size:.3g} from one to the next, around a "
        f"level of {level:.4g}, and turned {turns} times.",
        key=VALIDATION,
        value=float(loss[-1]),
        evidence=evidence([VALIDATION, TRAIN], epochs, loss.tolist(), limits, "swing_pct"),
    )


def _restarts(run: Run) -> bool:
    rate = run.column("learning_rate").values
    return bool(np.count_nonzero(rate[1:] > 1.5 * rate[:-1]) > 1)


def _scale(run: Run) -> float:
    train = run.column(TRAIN)
    first = abs(float(train.values[train.finite[0]])) if train.finite.size else 0.0
    return max(first, task_of(run).chance or 0.0)
