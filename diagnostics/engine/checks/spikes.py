"""The check on single steps with a wild gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Bools, Floats, robust_sigma
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

NORM = "steps.grad_norm_max"
_LEAST_SIGMA = 0.05
# Of the logarithm: a norm that scatters by less than 5 % is steadier than any that is worth comparing with.
_MOST = 200
# Candidates looked at: a run that blew up has thousands, and the first tells the story.


@check(
    "gradient-spike",
    title="Gradient spike",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(NORM,),
    section="",
)
def gradient_spike(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The gradient of single steps was many times as large as usual.

    ## What it does
    Compares the gradient norm of each step with those of up to 64 steps before it, on a logarithmic scale. A spike is
    eight robust standard deviations (by the median absolute deviation) and ten times above their median, and twice
    above all of the first steps. Earlier spikes do not count as usual. If the loss did not jump with it (three times
    its own median) the finding is information: clipping, or luck, has contained it.

    ## Why it matters
    One such step can undo hundreds. It often leads an explosion of the loss by a few steps, so it names the batch to
    look at.

    ## How to fix it
    Clip the gradients, and look at the samples of the batch at that step.

    ```python
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ```
    """
    series = run.steps("grad_norm_max")
    norms = series.values.astype(np.float64)
    spikes = _spikes(norms, limits)
    for at in np.flatnonzero(spikes):
        epoch, norm = int(run.epochs[series.rows[at]]), float(norms[at])
        usual = float(np.median(_before(norms, spikes, int(at), limits)))
        step = _step(run, int(at), norms.size)
        yield Finding(
            description=f"In epoch {epoch}{'' if step is None else f', at step {step},'} the gradient norm was "
            f"{norm:.4g}, {norm / usual:.3g} times the usual {usual:.3g}.",
            epoch=epoch,
            key=NORM,
            value=norm,
            severity=None if _loss_jumps(run, int(at), norms.size, limits) else IssueSeverity.info,
            evidence=evidence([NORM], [epoch], [norm], limits, "gradient_spike_z") | {"step": step, "usual": usual},
        )


def _before(norms: Floats, spikes: Bools, at: int, limits: DiagnosticThresholds) -> Floats:
    window = slice(max(0, at - limits.gradient_spike_window), at)
    usual = norms[window][~spikes[window]]
    return usual[np.isfinite(usual) & (usual > 0)]


def _spikes(norms: Floats, limits: DiagnosticThresholds) -> Bools:
    spikes = np.zeros(norms.size, bool)
    first = norms[: limits.gradient_spike_warm_up]
    first = first[np.isfinite(first)]
    if not first.size:
        return spikes
    high = np.isfinite(norms) & (norms > limits.gradient_instability_start_ratio * first.max())
    high[: limits.gradient_spike_warm_up] = False
    for at in np.flatnonzero(high)[:_MOST]:
        usual = _before(norms, spikes, int(at), limits)
        if usual.size < limits.gradient_spike_warm_up // 2:
            continue
        level = float(np.median(np.log(usual)))
        height = float(np.log(norms[at])) - level
        sigma = max(robust_sigma(np.log(usual)), _LEAST_SIGMA)
        spikes[at] = height > max(limits.gradient_spike_z * sigma, float(np.log(limits.gradient_spike_ratio)))
    return spikes


def _step(run: Run, at: int, size: int) -> int | None:
    first = run.steps("first").values
    return int(first[at]) if first.size == size and np.isfinite(first[at]) else None


def _loss_jumps(run: Run, at: int, size: int, limits: DiagnosticThresholds) -> bool:
    loss = run.steps("loss_max").values.astype(np.float64)
    if loss.size != size:
        return True
    # The loss of the next steps shows what this one did; that of a wild batch is high at once.
    before, after = loss[max(0, at - limits.gradient_spike_window) : at], loss[at : at + 6]
    known = before[np.isfinite(before)]
    if not known.size or not np.isfinite(after).all():
        return True
    return bool(after.max() > limits.blow_up_ratio * abs(float(np.median(known))))
