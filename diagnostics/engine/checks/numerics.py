"""Checks on numbers that are none: NaN and infinity. Exact, so no profile holds them back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Bools, Ints
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "nan-in-loss",
    title="NaN or infinite loss",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=(f"{TRAIN} | loss.val.val_loss | loss.non_finite",),
    section="11.2",
)
def nan_in_loss(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A loss is NaN or infinite.

    ## What it does
    Looks for NaN and infinity in every logged training and validation loss, in the count of non-finite batches and in
    the step series, and reports where it began, down to the step where that is known.

    ## Why it matters
    One NaN that reaches the optimizer turns every weight into NaN. From then on the run only burns compute; the last
    checkpoint before it is what remains.

    ## How to fix it
    Go back to the last good checkpoint, then clip the gradients and look at the batch where it began.

    ```python
    with torch.autograd.detect_anomaly():  # slow: only to find the operation that makes it
        loss.backward()
    ```

    Usual causes: a learning rate that is too high, log or division of zero, half precision without a gradient scaler,
    missing values in the data.
    """
    first, hit, names = _non_finite(run)
    if not hit.size:
        return
    step = _first_step(run, int(hit[0]))
    value = run.column(names[0]).values[hit[0]]
    where = "" if step is None else f", first at step {step}"
    rest = f"; {hit.size} of {len(run)} epochs are affected" if hit.size > 1 else ""
    yield Finding(
        description=f"{first} in epoch {run.epochs[hit[0]]}{where}{rest}.",
        epoch=int(run.epochs[hit[0]]),
        key=names[0],
        value=float(value),
        count=int(hit.size),
        evidence={"series": names, "epochs": run.epochs[hit].tolist(), "values": [float(value)], "step": step},
    )


def _non_finite(run: Run) -> tuple[str, Ints, list[str]]:
    """Return what is wrong in the first epoch, the rows hit, and the columns that say so."""
    names = [name for name in (TRAIN, "loss.train_min", "loss.train_max", "loss.train_std") if name in run.names]
    names += sorted(name for name in run.names if name.startswith("loss.val.") and "loss" in name[9:].lower())
    masks = {name: run.column(name).seen & ~np.isfinite(run.column(name).values) for name in names}
    masks["loss.non_finite"] = run.column("loss.non_finite").values > 0
    masks["steps.loss_mean"] = _bad_steps(run)
    hit = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
    if not hit.size:
        return "", hit, []
    guilty = [name for name, mask in masks.items() if mask[hit[0]]]
    return _say(run, guilty[0], int(hit[0])), hit, guilty


def _say(run: Run, name: str, row: int) -> str:
    value = run.column(name).values[row]
    if name == "steps.loss_mean":
        return "The loss of single steps is NaN or infinite"
    if name == "loss.non_finite":
        return f"The loss of {value:g} batches was NaN or infinite"
    return f"{name} is {'NaN' if np.isnan(value) else 'infinite'}"


def _bad_steps(run: Run) -> Bools:
    series = run.steps("loss_mean")
    hit = np.zeros(len(run), bool)
    hit[series.rows[series.seen & ~np.isfinite(series.values)]] = True
    return hit


def _first_step(run: Run, row: int) -> int | None:
    logged = run.column("loss.first_non_finite_step").values[row]
    if np.isfinite(logged):
        return int(logged)
    mean, first = run.steps("loss_mean"), run.steps("first")
    bad = np.flatnonzero(mean.seen & ~np.isfinite(mean.values) & (mean.rows == row))
    if bad.size and first.values.size == mean.values.size and np.isfinite(first.values[bad[0]]):
        return int(first.values[bad[0]])
    return None
