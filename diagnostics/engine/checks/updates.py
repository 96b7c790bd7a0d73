"""Checks on what happens to gradients between the backward pass and the update."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.rates import clipped_away, tiny_updates
from diagnostics.engine.curves import median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

CLIPPED = "gradients.clipped_share"
SKIPPED = "loss_scale.skipped"
UPDATES = "loss_scale.updates"
SCALE = "loss_scale.scale"


@check(
    "clipping-fraction",
    title="Most gradients clipped",
    category=IssueCategory.loss,
    severity=IssueSeverity.info,
    scope=Scope.epoch,
    needs=(CLIPPED,),
    section="",
)
def clipping_fraction(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Most steps are cut short by gradient clipping.

    ## What it does
    Takes the share of the steps of each epoch whose gradient was clipped, as `Observer.clip_grad_norm_` or the
    ``clipped`` of `Observer.step` told it; more than a half is a finding. The robust profile asks that it be so in the
    second half of the run as well: early gradients are large. It is a warning where nothing is learned for it: where
    clipping cuts the steps to less than a tenth of what the learning rate asks for, and so to less than a
    ten-thousandth of the weights.

    ## Why it matters
    Clipping is for the exception. Where it is the rule it sets the length of every step, whatever the learning rate
    says (Deep Learning Tuning Playbook: above 50 %, lower the learning rate instead).

    ## How to fix it
    Clip at the 90th percentile of the gradient norms seen, or lower the learning rate until clipping is rare.

    ```python
    norm = obs.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ```
    """
    share = run.column(CLIPPED).values
    for row in np.flatnonzero(share > limits.clipped_pct):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"In epoch {epoch} the gradients of {share[row]:.0%} of the steps were clipped.",
            epoch=epoch,
            key=CLIPPED,
            value=float(share[row]),
            evidence=evidence([CLIPPED], [epoch], [float(share[row])], limits, "clipped_pct"),
        )


@clipping_fraction.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    column = run.column(CLIPPED)
    later = column.values[column.finite][column.finite.size // 2 :]
    usual = median(later) if later.size else 0.0
    stalled = clipped_away(run, limits) is not None and tiny_updates(run, limits) is not None
    for found in clipping_fraction.rule(run, limits):
        if usual <= limits.clipped_pct:
            found.suppressed = f"in the second half of the run {usual:.0%} of the steps are clipped"
        elif stalled:
            found.severity = IssueSeverity.warning
            found.title = "Gradients clipped away"
        yield found


@check(
    "amp-overflow",
    title="Steps thrown away by the gradient scaler",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(SKIPPED, UPDATES),
    section="",
)
def amp_overflow(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The gradient scaler of float16 training throws steps away, and not only at the start.

    ## What it does
    Counts the updates in which a watched gradient scaler found an infinite or NaN gradient and threw the step away. A
    scaler begins too high on purpose: 20 such steps are its search for a scale. More than 1 % of all steps beyond
    these is a warning. It is critical if every step since the start was thrown away, or every one of the last epoch:
    then nothing is learned. Needs `Observer.observe_scaler`.

    ## Why it matters
    Each step thrown away halves the scale, and with a small scale small gradients become zero. Where no scale is low
    enough, the overflow is not the scaler's: the model itself leaves the range of float16, which ends at 65,504.

    ## How to fix it
    Train in bfloat16, which has the range of float32 and needs no scaler.

    ```python
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = criterion(model(x), y)
    loss.backward()
    ```
    """
    skipped, updates = (np.fmax(0.0, run.column(name).values) for name in (SKIPPED, UPDATES))
    beyond = np.maximum(0.0, np.cumsum(skipped) - limits.amp_start_skips)
    rows = np.flatnonzero(updates)
    if not rows.size or not beyond[-1] > limits.amp_skipped_pct * updates.sum():
        return
    first, last = int(np.flatnonzero(beyond)[0]), int(rows[-1])
    scale = run.column(SCALE)
    at_last = f"; the scale has come to {scale.values[scale.finite[-1]]:.4g}" if scale.finite.size else ""
    epoch = int(run.epochs[first])
    yield Finding(
        description=f"The gradient scaler threw away {skipped.sum():.0f} of {updates.sum():.0f} steps{at_last}.",
        epoch=epoch,
        key=SKIPPED,
        value=float(skipped.sum()),
        severity=IssueSeverity.critical if skipped[last] >= updates[last] else None,
        evidence=evidence([SKIPPED, SCALE], [epoch], [float(skipped[first])], limits, "amp_skipped_pct"),
    )
