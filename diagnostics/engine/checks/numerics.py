"""Checks on numbers that are none: NaN and infinity. Exact, so no profile holds them back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Bools, Ints
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
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


@once
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


NORMS = ("gradients.norm_mean", "gradients.norm_max")


@check(
    "inf-gradients",
    title="NaN or infinite gradients",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=("gradients.norm_mean | gradients.norm_max | steps.grad_norm_max | layers.non_finite_gradients",),
    section="11.2",
)
def inf_gradients(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A gradient is NaN or infinite.

    ## What it does
    Looks for NaN and infinity in the logged gradient norms of epochs and steps, and in the counts of single layers,
    and reports where it began. A gradient scaler for half precision makes a few such steps and skips them, most of
    them at the start, where it looks for its scale. So the robust profile lets them pass if the loss stays finite to
    the end and they are less than 5 % of the steps or none comes after the first tenth of the run.

    ## Why it matters
    An optimizer that takes such a step turns the weights into NaN; a scaler that skips all of them trains nothing.

    ## How to fix it
    Find the layer and the batch where it begins, and keep the gradients finite there.

    ```python
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0, error_if_nonfinite=True)
    ```
    """
    hit = np.flatnonzero(_bad_gradients(run))
    if not hit.size:
        return
    row = int(hit[0])
    step, layer = _first_bad_gradient(run, row), _bad_layer(run, row)
    where = "" if step is None else f", first at step {step}"
    rest = f"; {hit.size} of {len(run)} epochs are affected" if hit.size > 1 else ""
    yield Finding(
        description=f"A gradient{f' of layer {layer!r}' if layer else ''} is NaN or infinite in epoch "
        f"{run.epochs[row]}{where}{rest}.",
        epoch=int(run.epochs[row]),
        layer=layer,
        key="gradients.norm_max",
        value=float(run.column("gradients.norm_max").values[row]),
        count=int(hit.size),
        evidence={"series": list(NORMS), "epochs": run.epochs[hit].tolist(), "values": [], "step": step},
    )


@inf_gradients.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in inf_gradients.rule(run, limits):
        if not _non_finite(run)[1].size:
            if (skipped := _skipped_share(run)) < limits.skipped_steps_pct:
                found.suppressed = f"{skipped:.1%} of the steps, which were skipped: the loss stays finite"
            elif _only_at_the_start(run):
                found.suppressed = "only at the start, where a scaler looks for its scale: the loss stays finite"
        yield found


def _bad_gradients(run: Run) -> Bools:
    columns = [run.column(name) for name in NORMS]
    hit = np.logical_or.reduce([column.seen & ~np.isfinite(column.values) for column in columns])
    steps, layers = run.steps("grad_norm_max"), run.layer_matrix("non_finite_gradients").values
    hit[steps.rows[steps.seen & ~np.isfinite(steps.values)]] = True
    return np.asarray(hit | (layers > 0).any(axis=1))


def _first_bad_gradient(run: Run, row: int) -> int | None:
    norm, first = run.steps("grad_norm_max"), run.steps("first")
    bad = np.flatnonzero(norm.seen & ~np.isfinite(norm.values) & (norm.rows == row))
    if bad.size and first.values.size == norm.values.size and np.isfinite(first.values[bad[0]]):
        return int(first.values[bad[0]])
    return None


def _bad_layer(run: Run, row: int) -> str | None:
    bad = np.flatnonzero(run.layer_matrix("non_finite_gradients").values[row] > 0)
    # All layers below the origin are hit with it; gradients flow from the last layer to the first.
    return run.layers[int(bad[-1])] if bad.size else None


def _skipped_share(run: Run) -> float:
    steps = run.steps("grad_norm_max")
    if steps:
        return float(np.count_nonzero(steps.seen & ~np.isfinite(steps.values)) / np.count_nonzero(steps.seen))
    return float(np.count_nonzero(_bad_gradients(run)) / len(run))


def _only_at_the_start(run: Run) -> bool:
    """Whether the last bad step lies in the first tenth of the run, and finite ones follow.

    PyTorch's GradScaler starts at a scale of 65,536 and halves it, skipping the step, until the gradients fit.
    """
    steps = run.steps("grad_norm_max")
    if not steps:
        return False
    bad = np.flatnonzero(steps.seen & ~np.isfinite(steps.values))
    return bool(bad.size and bad[-1] < 0.1 * len(steps.values))


@check(
    "loss-below-minimum",
    title="Loss below its minimum",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=(f"{TRAIN} | loss.val.val_loss",),
    section="",
)
def loss_below_minimum(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A loss is below zero that cannot be.

    ## What it does
    Cross-entropy, squared and absolute errors are never negative. A loss below zero is reported if the hyperparameters
    call it by such a name, or, as a warning, if they do not name it and say how many classes there are. Likelihoods
    of densities, rewards and other losses that may be negative are left alone.

    ## Why it matters
    The sign is wrong somewhere: the optimizer makes the predictions worse with every step, and the curve looks like
    progress.

    ## How to fix it
    Minimize the loss itself: remove the minus sign, or the log that was taken twice, and give logits to the criterion.

    ```python
    loss = torch.nn.functional.cross_entropy(logits, targets)  # not -cross_entropy(...)
    ```
    """
    task = task_of(run)
    if not task.never_negative and (task.loss is not None or task.classes is None):
        return
    for name in (TRAIN, "loss.val.val_loss"):
        values = run.column(name).values
        hit = np.flatnonzero(values < -limits.negative_loss)
        if hit.size:
            epochs = run.epochs[hit].tolist()
            yield Finding(
                description=f"{name} is {values[hit[0]]:.4g} in epoch {epochs[0]}, below zero in {hit.size} of "
                f"{len(run)} epochs; {task.loss or f'a loss over {task.classes} classes'} cannot be negative.",
                epoch=epochs[0],
                key=name,
                value=float(values[hit[0]]),
                count=int(hit.size),
                severity=None if task.never_negative else IssueSeverity.warning,
                evidence=evidence([name], epochs, values[hit].tolist(), limits, "negative_loss"),
            )
            return
