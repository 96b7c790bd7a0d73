"""Checks on the validation loss against the training loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Floats, Ints, median, noise, rise_p_value, smooth
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

VALIDATION = "loss.val.val_loss"


@check(
    "overfitting",
    title="Overfitting detected",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(TRAIN, VALIDATION),
    section="5.4",
)
def overfitting(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The validation loss rises while the training loss falls.

    ## What it does
    Counts the epochs in which the validation loss went up and the training loss went down; two are enough. Two such
    epochs happen by chance in almost every long run, so from four validations on the robust profile asks for more:
    the smoothed validation loss ends at least 10 % above its best (Prechelt's generalization loss), the rise since
    then is a significant trend, and the training loss kept falling. If the validation accuracy still gains, the
    finding is information only.

    ## Why it matters
    The model learns its training data by heart. On data it has not seen it gets worse with every epoch, and the best
    weights are those of an epoch long past.

    ## How to fix it
    Keep the checkpoint of the best validation loss, and add dropout, weight decay or data augmentation.

    ```python
    model.fc1 = torch.nn.Sequential(model.fc1, torch.nn.Dropout(0.5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    ```
    """
    rows = _overfit_rows(run)
    if rows.size >= limits.overfitting_epochs:
        train, val = run.column(TRAIN).values, run.column(VALIDATION).values
        epochs = run.epochs[rows].tolist()
        first, last = rows[0] - 1, rows[-1]
        yield Finding(
            description=f"In {rows.size} epochs the validation loss rose while the training loss fell: validation "
            f"{val[first]:.4g} -> {val[last]:.4g}, training {train[first]:.4g} -> {train[last]:.4g}.",
            epoch=epochs[0],
            key=VALIDATION,
            value=float(val[last]),
            evidence=evidence([VALIDATION, TRAIN], epochs, val[rows].tolist(), limits, "overfitting_epochs"),
        )


@once
def _overfit_rows(run: Run) -> Ints:
    train, val = run.column(TRAIN).values, run.column(VALIDATION).values
    return np.flatnonzero((val[1:] > val[:-1]) & (train[1:] < train[:-1])) + 1


@overfitting.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    rows = np.flatnonzero(np.isfinite(run.column(TRAIN).values) & np.isfinite(run.column(VALIDATION).values))
    train, val = run.column(TRAIN).values[rows], run.column(VALIDATION).values[rows]
    for found in overfitting.rule(run, limits):
        if rows.size < limits.overfitting_short_history:
            found.suppressed = _small_rise(val, limits)
        else:
            best = int(np.argmin(smooth(val)))
            found.evidence["best_epoch"] = int(run.epochs[rows[best]])
            found.suppressed = _no_overfitting(train, val, best, limits)
            if _accuracy_gains(run, rows, best, limits):
                found.severity = IssueSeverity.info
        yield found


def _small_rise(val: Floats, limits: DiagnosticThresholds) -> str | None:
    rise, least = float(val[-1] - val.min()), limits.overfitting_short_rise_pct * abs(float(val.min()))
    return None if rise >= least else f"the validation loss ends only {rise:.3g} above its best, less than {least:.3g}"


def _no_overfitting(train: Floats, val: Floats, best: int, limits: DiagnosticThresholds) -> str | None:
    level = float(smooth(val)[best])
    rise = median(val[-3:]) - level
    # A share of the best says nothing about a loss that may be zero or negative; what was gained does.
    gained = max(0.0, float(val[0]) - level)
    scale = level if val.min() > 0 else gained
    least = max(limits.overfitting_rise_pct * scale, limits.overfitting_descent_pct * gained)
    if rise <= least:
        return f"the smoothed validation loss ends {rise:.3g} above its best, not more than {least:.3g}"
    if val.size - 1 - best < 3:
        return f"only {val.size - 1 - best} validations since the best one"
    if train[-1] >= train[best]:
        return "the training loss has not fallen since the best validation"
    p_value = rise_p_value(val[best:])
    long = val.size >= limits.overfitting_long_history
    if p_value >= (limits.trend_p_value if long else limits.overfitting_p_value):
        return f"the rise since the best validation is no significant trend (p = {p_value:.2g})"
    return None


def _accuracy_gains(run: Run, rows: Ints, best: int, limits: DiagnosticThresholds) -> bool:
    accuracy = run.column("loss.val.val_acc").values[rows]
    gain = float(median(accuracy[-3:]) - median(accuracy[max(0, best - 1) : best + 2]))
    return gain > max(limits.overfitting_accuracy_gain, 2 * noise(accuracy[np.isfinite(accuracy)]))
