"""Checks on compute that brought little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.checks.loss import TRAIN, doubt
from diagnostics.engine.checks.throughput import DURATION
from diagnostics.engine.checks.validation import VALIDATION
from diagnostics.engine.curves import Floats, Ints, median, noise
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import game_of
from diagnostics.engine.thresholds import DiagnosticThresholds


@dataclass(frozen=True, slots=True)
class _Curve:
    """The loss that decides, and the rows of the run where it is known."""

    name: str
    loss: Floats
    rows: Ints
    margin: float
    """Standard error of one value."""


@once
def _training(run: Run) -> _Curve:
    column = run.column(TRAIN)
    rows = column.finite
    margin = median(doubt(run)[rows]) / np.sqrt(2) if rows.size else 0.0
    return _Curve(TRAIN, column.values[rows], rows, margin)


@once
def _deciding(run: Run) -> _Curve:
    """Return the validation loss if there is one: the training loss may go on falling while nothing is learned."""
    column = run.column(VALIDATION)
    rows = column.finite
    if rows.size < 3:
        return _training(run)
    return _Curve(VALIDATION, column.values[rows], rows, noise(column.values[rows]))


def _marginal_shares(loss: Floats) -> Floats:
    """Return, per value from the second on, its improvement over all improvement before it; NaN if there was none."""
    gained = loss[0] - loss[:-1] if loss.size else loss
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gained > 0, (loss[:-1] - loss[1:]) / gained, np.nan)


@check(
    "diminishing-returns",
    title="Diminishing returns",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.epoch,
    needs=(TRAIN,),
    section="6.1",
)
def diminishing_returns(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """More epochs hardly improve the loss any more.

    ## What it does
    Compares the improvement of each epoch with all improvement before it; less than 5 % is little. Steady progress
    looks like that too (after twenty equal steps each is less than 5 % of the sum), so the robust profile asks what
    the whole rest of the run brought: in runs of twelve epochs and more, a best loss that improves by less than 1 %
    and less than noise, for a tenth of the run or more.

    ## Why it matters
    Each of these epochs costs the same time and energy as the first one did.

    ## How to fix it
    Stop early: end the training when the validation loss has not improved for a few epochs.

    ```python
    best, patience = math.inf, 3
    for epoch in range(epochs):
        ...
        best, waited = (val_loss, 0) if val_loss < best - 0.01 else (best, waited + 1)
        if waited >= patience:
            break
    ```
    """
    curve = _training(run)
    shares = _marginal_shares(curve.loss)
    for at in np.flatnonzero(shares < limits.diminishing_returns_pct) + 1:
        yield _little(run, limits, curve, int(at))


@diminishing_returns.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    curve = _deciding(run)
    if (stop := _stop(curve, limits)) is not None and not game_of(run):
        yield _little(run, limits, curve, stop + 1)
        return
    for found in diminishing_returns.rule(run, limits):
        found.suppressed = "the loss still improves, or need not: steady progress is a small part of a long way"
        yield found


def _little(run: Run, limits: DiagnosticThresholds, curve: _Curve, at: int) -> Finding:
    gain, gained = float(curve.loss[at - 1] - curve.loss[at]), float(curve.loss[0] - curve.loss[at - 1])
    epoch = int(run.epochs[curve.rows[at]])
    return Finding(
        description=f"Epoch {epoch} improved {_called(curve)} by {gain:.3g}, {gain / gained:.1%} of the {gained:.3g} "
        "gained before it."
        if gain > 0 < gained
        else f"Epoch {epoch} did not improve {_called(curve)}, {gained:.3g} below where it began.",
        epoch=epoch,
        key=curve.name,
        value=float(curve.loss[at]),
        evidence=evidence([curve.name], [epoch], [float(curve.loss[at])], limits, "diminishing_returns_pct"),
    )


def _called(curve: _Curve) -> str:
    return "the validation loss" if curve.name == VALIDATION else "the training loss"


def _stop(curve: _Curve, limits: DiagnosticThresholds) -> int | None:
    """Return the last value that was worth its epoch; None if the loss still improves."""
    if curve.loss.size < limits.diminishing_short_history:
        return _end_of_progress(curve.loss, limits)
    return _settled(curve, limits)


def _end_of_progress(loss: Floats, limits: DiagnosticThresholds) -> int | None:
    """Return the value after which all the rest brought less than the share, of what was gained and of the level."""
    if loss.size < 2:
        return None
    best_ahead = np.minimum.accumulate(loss[::-1])[::-1][1:]
    gained, rest = loss[0] - loss[:-1], loss[:-1] - best_ahead
    share = limits.diminishing_returns_pct
    ends = np.flatnonzero((gained > 0) & (rest < share * gained) & (rest < share * np.abs(loss[:-1])))
    return int(ends[0]) if ends.size else None


def _settled(curve: _Curve, limits: DiagnosticThresholds) -> int | None:
    """Return the first value that the rest of a long run improved on by less than noise; None if it still improves."""
    loss = curve.loss
    patience = max(limits.early_stop_patience, int(np.ceil(limits.early_stop_patience_pct * loss.size)))
    best = float(loss.min())
    enough = max(curve.margin, limits.early_stop_tolerance_pct * abs(best))
    stop = int(np.flatnonzero(loss <= best + enough)[0])
    return stop if 0 < stop < loss.size - patience and loss[0] - loss[stop] > enough else None


@check(
    "early-stop-opportunity",
    title="Early stop opportunity",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(TRAIN,),
    section="6.2",
)
def early_stop_opportunity(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Training could have stopped earlier.

    ## What it does
    Looks for the epoch after which every epoch brought diminishing returns, and counts what was spent after it; above
    30 % of the compute it is a warning. The robust profile judges by the validation loss where there is one, takes
    the first epoch within 1 % or one standard error of the best, and never tells a run to stop that still improves. In
    runs of twelve epochs and more its hindsight is information, unless the best validation loss lies ten epochs back
    or more and nothing after it came near.

    ## Why it matters
    The epochs after that point cost time, money and energy, and the model they leave is no better.

    ## How to fix it
    Use early stopping with a patience of a few epochs, and keep the best checkpoint.

    ```python
    EarlyStopping(monitor="val_loss", patience=3, min_delta=0.01)
    ```
    """
    curve = _training(run)
    little = _marginal_shares(curve.loss) < limits.diminishing_returns_pct
    # The last epoch that was worth it; all after it were not.
    worth = np.flatnonzero(~little)
    stop = int(worth[-1]) + 1 if worth.size else 0
    if 0 < stop < curve.loss.size - 1:
        yield _wasted(run, limits, curve, stop)


@early_stop_opportunity.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    curve = _deciding(run)
    stop = None if game_of(run) else _stop(curve, limits)
    if stop is not None and curve.loss.size - 1 - stop >= limits.early_stop_min_epochs:
        found = _wasted(run, limits, curve, stop)
        if not _surely_wasted(curve, limits):
            found.severity = IssueSeverity.info
        yield found
        return
    for found in early_stop_opportunity.rule(run, limits):
        found.suppressed = f"{_called(curve)} still improves, need not, or stopped just now"
        yield found


def _surely_wasted(curve: _Curve, limits: DiagnosticThresholds) -> bool:
    """Return whether the waste may be a warning: a short run has the guide's rule alone to go by, a longer one needs a
    validation loss whose very best lies far back and was never reached again, noise allowed for."""
    if curve.loss.size < limits.diminishing_short_history and curve.name != VALIDATION:
        return True
    best = int(np.argmin(curve.loss))
    after = curve.loss[best + 1 :]
    if curve.name != VALIDATION or after.size < limits.early_stop_sure_epochs:
        return False
    behind = float(median(after[-limits.early_stop_sure_epochs :]) - curve.loss[best])
    # The best of many is a lucky one: what lies after it must be further off than luck explains.
    lucky = limits.early_stop_sure_se * curve.margin
    return behind > max(lucky, limits.early_stop_tolerance_pct * abs(float(curve.loss[best])))


def _wasted(run: Run, limits: DiagnosticThresholds, curve: _Curve, stop: int) -> Finding:
    row = int(curve.rows[stop])
    epoch, wasted = int(run.epochs[row]), len(run) - 1 - row
    seconds, share = spent_after(run, row)
    rest = "the last epoch" if wasted == 1 else f"the remaining {wasted} epochs"
    duration = f", {seconds:.4g} s" if seconds is not None else ""
    return Finding(
        description=f"Training could have stopped after epoch {epoch}: {rest}{duration} "
        f"({share:.0%} of the compute) improved {_called(curve)} by {curve.loss[stop] - curve.loss[stop:].min():.3g}.",
        epoch=epoch,
        key=curve.name,
        value=float(curve.loss[stop]),
        severity=IssueSeverity.warning if share > limits.wasted_compute_warning_pct else None,
        evidence=evidence([curve.name], [epoch], [float(curve.loss[stop])], limits, "diminishing_returns_pct")
        | {"optimal_stop_epoch": epoch, "wasted_epochs": wasted, "wasted_seconds": seconds, "wasted_share": share},
    )


def spent_after(run: Run, row: int) -> tuple[float | None, float]:
    """Return the seconds spent after epoch ``row`` (None if unknown) and their share of all; epochs count equally
    where durations are not known throughout."""
    seconds = run.column(DURATION).values
    if not np.isfinite(seconds).all() or seconds.sum() <= 0:
        known = seconds[row + 1 :][np.isfinite(seconds[row + 1 :])]
        return (float(known.sum()) if known.size else None), (len(run) - 1 - row) / len(run)
    after = float(seconds[row + 1 :].sum())
    return after, after / float(seconds.sum())
