"""Checks on the size of the batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.batches import SPREAD, share_of_scale
from diagnostics.engine.checks.devices import LOAD
from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Floats, median, ratio
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

BATCHES = "loss.n_batches"
SAMPLES = "throughput.samples_processed"
VAL = "loss.val.val_loss"


@check(
    "batch-size-too-small",
    title="Batch size too small",
    category=IssueCategory.loss,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(TRAIN, SPREAD, f"{LOAD} | {SAMPLES}"),
    section="11.2",
)
def batch_size_too_small(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The losses of the batches scatter, while the GPU has room for larger ones.

    ## What it does
    Looks for a spread of the batch losses above half of their mean in most epochs, on a GPU that is loaded to less
    than 30 % on average. The robust profile compares the spread with the scale of the run's loss, takes the trend
    within an epoch out, and leaves out the first epoch, as `high-loss-variance` does. It asks for two more epochs. It
    also reports batches of four samples and fewer, whatever the GPU, if their losses spread that far or nothing is
    learned from them.

    ## Why it matters
    The gradient of a small batch is mostly noise, and up to the critical batch size (McCandlish et al., "An Empirical
    Model of Large-Batch Training", 2018) larger batches need fewer steps. On an idle GPU they cost next to nothing.

    ## How to fix it
    Double the batch size until the GPU is busy or its memory full, and raise the learning rate with it.

    ```python
    loader = torch.utils.data.DataLoader(dataset, batch_size=128, shuffle=True)  # was 8
    ```
    """
    mean, spread = run.column(TRAIN).values, run.column(SPREAD).values
    yield from _too_small(run, ratio(spread, mean), limits)


@batch_size_too_small.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    share = share_of_scale(run, limits)[1:]
    if np.count_nonzero(np.isfinite(share)) >= 2 and any(True for _ in _too_small(run, share, limits)):
        yield from _too_small(run, share, limits)
        return
    yield from _tiny(run, limits)
    for found in batch_size_too_small.rule(run, limits):
        found.suppressed = "against the scale of the run's loss the spread is small, or seen too rarely"
        yield found


def _tiny(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    samples = ratio(run.column(SAMPLES).values, run.column(BATCHES).values)
    sizes = samples[np.isfinite(samples)]
    if not sizes.size or median(sizes) > limits.tiny_batch:
        return
    mean, spread = run.column(TRAIN).values, run.column(SPREAD).values
    share = ratio(spread, np.abs(mean))
    known, loss = share[np.isfinite(share)], mean[np.isfinite(mean)]
    if not known.size:
        return
    learned = float(loss[0] - loss.min()) > limits.stuck_improvement_pct * abs(float(loss[0]))
    usual = float(np.median(known))
    if usual > limits.loss_variance_ratio or (loss.size > 1 and not learned):
        yield Finding(
            description=f"A batch has {median(sizes):.3g} samples, and their losses usually spread by {usual:.0%} "
            "of their size.",
            key=SPREAD,
            value=usual,
            evidence=evidence([SPREAD], [], [usual], limits, "tiny_batch") | {"ratio": usual},
        )


def _too_small(run: Run, share: Floats, limits: DiagnosticThresholds) -> Iterator[Finding]:
    load = run.column(LOAD)
    known = share[np.isfinite(share)]
    if not known.size or not load.finite.size:
        return
    usual, busy = median(known), float(np.mean(load.values[load.finite]))
    if usual > limits.loss_variance_ratio and busy < limits.low_gpu_percent:
        yield Finding(
            description=f"The batch losses usually spread by {usual:.0%} of their size, and the GPU is loaded to "
            f"{busy:.0f} % on average.",
            key=SPREAD,
            value=usual,
            evidence=evidence([SPREAD, LOAD], [], [usual], limits, "loss_variance_ratio") | {"ratio": usual},
        )


@check(
    "batch-size-too-large",
    title="Batch size too large",
    category=IssueCategory.loss,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(TRAIN, SPREAD, VAL),
    section="11.2",
)
def batch_size_too_large(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Training is perfectly smooth and validation gets no better.

    ## What it does
    Looks at the second half of runs of eight or more epochs: batch losses that spread by less than 5 % of their mean,
    a training loss that still falls by more than 5 %, and no validation loss below the best one of the first half. The
    robust profile asks, too, that an epoch has ten steps at the most, since only batches of that size hide what
    samples disagree on.

    ## Why it matters
    Beyond the critical batch size the noise of the gradient, which helps to generalize, is gone (Keskar et al., "On
    Large-Batch Training for Deep Learning", ICLR 2017), and fewer steps are made of the same data.

    ## How to fix it
    Make the batches smaller, or raise the learning rate with a warm-up if they must be large.

    ```python
    loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)  # was 2048
    ```
    """
    train, spread, val = (run.column(name).values for name in (TRAIN, SPREAD, VAL))
    if len(run) < limits.slow_epochs:
        return
    half = len(run) // 2
    share = ratio(spread, np.abs(train))[half:]
    rows = np.flatnonzero(np.isfinite(train[half:]) & np.isfinite(share)) + half
    before, after = val[:half][np.isfinite(val[:half])], val[half:][np.isfinite(val[half:])]
    if rows.size < 2 or not before.size or not after.size or after.min() < before.min():
        return
    smooth, first, last = median(share[rows - half]), float(train[rows[0]]), float(train[rows[-1]])
    if smooth < limits.smooth_batches_pct and first - last > limits.smooth_batches_pct * abs(first):
        yield Finding(
            description=f"In the second half of the run the batch losses spread by {smooth:.1%} of their mean, the "
            f"training loss fell from {first:.4g} to {last:.4g}, and no validation loss came below {before.min():.4g}.",
            key=SPREAD,
            value=smooth,
            evidence=evidence([SPREAD, VAL], [], [smooth], limits, "smooth_batches_pct"),
        )


@batch_size_too_large.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    batches = run.column(BATCHES)
    usual = median(batches.values[batches.finite]) if batches.finite.size else np.inf
    for found in batch_size_too_large.rule(run, limits):
        if not usual <= limits.few_steps:
            found.suppressed = "how many steps an epoch has is not known or shows that the batches are not large"
        yield found
