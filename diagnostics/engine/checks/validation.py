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
    then is a significant trend, and the training loss kept falling. It is information if the validation accuracy still
    gains, if the rise is only 5 % but more than half of all that had been gained, and in runs of two or three epochs
    that end 10 % above the best validation loss after a single rise: more epochs would tell.

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
            small = found.suppressed is None and _rise_over_best(val, best) <= limits.overfitting_rise_pct
            if small or _accuracy_gains(run, rows, best, limits):
                found.severity = IssueSeverity.info
        yield found
    if 2 <= rows.size < limits.overfitting_short_history and _overfit_rows(run).size == 1 < limits.overfitting_epochs:
        yield from _last_rise(run, limits, rows)


def _last_rise(run: Run, limits: DiagnosticThresholds, rows: Ints) -> Iterator[Finding]:
    """Yield the rise of the last validation of a very short run."""
    train, val = run.column(TRAIN).values[rows], run.column(VALIDATION).values[rows]
    best = float(val[:-1].min())
    if best > 0 and val[-1] - best > limits.overfitting_rise_pct * best and train[-1] < train[-2]:
        epoch = int(run.epochs[rows[-1]])
        yield Finding(
            description=f"In epoch {epoch} the validation loss rose from {best:.4g} to {val[-1]:.4g} while the "
            f"training loss fell from {train[-2]:.4g} to {train[-1]:.4g}.",
            epoch=epoch,
            key=VALIDATION,
            value=float(val[-1]),
            severity=IssueSeverity.info,
            evidence=evidence([VALIDATION, TRAIN], [epoch], [float(val[-1])], limits, "overfitting_rise_pct"),
        )


def _small_rise(val: Floats, limits: DiagnosticThresholds) -> str | None:
    rise, least = float(val[-1] - val.min()), limits.overfitting_short_rise_pct * abs(float(val.min()))
    return None if rise >= least else f"the validation loss ends only {rise:.3g} above its best, less than {least:.3g}"


def _rise_over_best(val: Floats, best: int) -> float:
    """Return the rise over the best level; infinite of losses that are not positive, where it says nothing."""
    level = float(smooth(val)[best])
    return (float(np.median(val[-3:])) - level) / level if val.min() > 0 else np.inf


def _no_overfitting(train: Floats, val: Floats, best: int, limits: DiagnosticThresholds) -> str | None:
    level = float(smooth(val)[best])
    rise = median(val[-3:]) - level
    # A share of the best says nothing about a loss that may be zero or negative; what was gained does.
    gained = max(0.0, float(val[0]) - level)
    scale = level if val.min() > 0 else gained
    least = max(limits.overfitting_rise_pct * scale, limits.overfitting_descent_pct * gained)
    if gained > 0 and val.min() > 0:
        # A loss with a high floor, as of a language model, never rises by a tenth: what it had gained is the measure.
        lost = max(limits.overfitting_short_rise_pct * scale, limits.overfitting_lost_pct * gained)
        least = min(least, lost)
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
