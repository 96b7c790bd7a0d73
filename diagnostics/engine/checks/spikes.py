"""Checks on single steps with a wild loss or a wild gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.curves import Bools, Floats, Ints, median, noise, robust_sigma
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.stages import NEW_STAGE, stage_at_step
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

LOSS = "steps.loss_max"
NORM = "steps.grad_norm_max"
_LEAST_SIGMA = 0.05
# Of the logarithm: a norm that scatters by less than 5 % is steadier than any that is worth comparing with.
_GAIN = 2.0
# First loss over the present one from which there is a gain that a spike can take back.
_FELT = 0.1
# Part of the height of a spike that the next three steps keep where the model was thrown back.
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
        usual = median(_before(norms, spikes, int(at), limits))
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


def lone_gradient(run: Run, limits: DiagnosticThresholds) -> tuple[int, int | None] | None:
    """Return epoch and step of the first gradient that was huge all at once, while the loss of its step was still as
    usual; None if there is none. Steps that are too large in general show in the loss before they do so."""
    series, means = run.steps("grad_norm_max"), run.steps("loss_mean")
    norms, loss = series.values.astype(np.float64), means.values.astype(np.float64)
    spikes = _spikes(norms, limits)
    if not spikes.any() or loss.size != norms.size:
        return None
    at = int(np.flatnonzero(spikes)[0])
    usual, before = _before(norms, spikes, at, limits), loss[max(0, at - limits.gradient_spike_window) : at]
    before = before[np.isfinite(before)]
    alone = norms[at] > limits.lone_gradient_ratio * median(usual)
    if not alone or not before.size or not loss[at] <= before.max():
        return None
    return int(run.epochs[series.rows[at]]), _step(run, at, norms.size)


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
        level = median(np.log(usual))
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
    return bool(after.max() > limits.blow_up_ratio * abs(median(known)))


@check(
    "loss-spike",
    title="Loss spike",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(LOSS,),
    section="",
)
def loss_spike(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The loss of single steps was far above all others, the first ones included.

    ## What it does
    Compares the loss of each step with those just before it. A spike stands eight standard deviations above them (by
    the jitter of up to 64 steps), and above all losses of the start of the run by a third of what was gained since;
    where the number of classes is known, the batch also did worse than guessing, by a fifth. Hard batches late in the
    training of a good model do not reach that. The first of several spikes is described, with the steps it took the
    loss to come back. The idea is that of the skipped steps of OLMo and PaLM (Chowdhery et al., 2022, section 5.1).

    The robust profile also tells, as information, of lower ones that take back a third of what was gained, stand out as
    far and are felt by the steps after them, which a hard batch is not. What begins with an epoch, or at one step and
    lasts, and is learned from there is information, too: new data or a new objective, not a batch. So it is in
    adversarial and reinforcement training, whose loss is no measure of progress.

    ## Why it matters
    A model that had learned something met a batch that it does worse on than one that knows nothing, or a step before
    it threw it back. Either way it costs what was gained, and the step says where to look.

    ## How to fix it
    Look at the samples of the batch at that step, and clip the gradients; leave out batches that are broken.

    ```python
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ```
    """
    series = _losses(run, limits)
    spikes = _loss_spikes(run, limits, series, _start_height(run, limits, series))
    if spikes:
        yield _loss_finding(run, limits, series, spikes)


@loss_spike.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    series = _losses(run, limits)
    spikes = _loss_spikes(run, limits, series, _start_height(run, limits, series))
    lone = [spike for spike in spikes if not stage_at_step(run, limits, spike[0])]
    if lone:
        yield _loss_finding(run, limits, series, lone)
        return
    if spikes:
        found = _loss_finding(run, limits, series, spikes)
        found.description = f"{found.description.rstrip('.')}. The loss is higher {NEW_STAGE}."
    else:
        contained = _loss_spikes(run, limits, series, _share_of_gain(limits, series))
        thrown_back = [spike for spike in contained if _lingers(series, *spike)]
        if not thrown_back:
            return
        found = _loss_finding(run, limits, series, thrown_back)
    found.severity = IssueSeverity.info
    yield found


def _lingers(series: _Losses, at: int, level: float) -> bool:
    """Return whether the steps after a spike feel it, too: a hard batch alone leaves the model as it was."""
    after = series.mean[at + 1 : at + 4]
    return bool(after.size == 3 and after.min() - level > _FELT * (series.high[at] - level))


@dataclass(frozen=True, slots=True)
class _Losses:
    """The loss of each step or bucket of steps, the rows of the epochs, and where the start of the run is over."""

    high: Floats
    mean: Floats
    rows: Ints
    start: int

    @property
    def first(self) -> float:
        """The highest loss of the start; NaN where nothing is known of it."""
        known = self.high[: self.start][np.isfinite(self.high[: self.start])]
        return float(known.max()) if known.size else math.nan


Bar = Callable[[float], float]
"""How high a spike must be at least, by the level before it."""


def _losses(run: Run, limits: DiagnosticThresholds) -> _Losses:
    series, means = run.steps("loss_max"), run.steps("loss_mean")
    high, rows = series.values.astype(np.float64), series.rows
    mean = means.values.astype(np.float64) if means.values.size == high.size else high
    start = max(limits.gradient_spike_warm_up, int(np.searchsorted(rows, rows[0], side="right"))) if rows.size else 0
    return _Losses(high, mean, rows, start)


def _start_height(run: Run, limits: DiagnosticThresholds, series: _Losses) -> Bar:
    """Return the bar of the guide: above the start, and above guessing."""
    chance, first = task_of(run).chance, series.first
    floor = max(first, limits.loss_spike_chance_ratio * chance if chance else -np.inf)
    return lambda level: max(floor, first + limits.loss_spike_start_pct * (first - level))


def _share_of_gain(limits: DiagnosticThresholds, series: _Losses) -> Bar:
    # What was gained shows at the first steps; without a gain there is nothing to lose, and any hard batch stands out.
    first = median(series.mean[:3])
    return lambda level: (
        level + limits.loss_spike_start_pct * (first - level) if first > _GAIN * level > 0 else math.inf
    )


def _loss_finding(
    run: Run, limits: DiagnosticThresholds, series: _Losses, spikes: Sequence[tuple[int, float]]
) -> Finding:
    at, level = spikes[0]
    high, epoch, step = series.high, int(run.epochs[series.rows[at]]), _step(run, at, series.high.size)
    back = np.flatnonzero(series.mean[at + 1 :] <= level + (high[at] - level) / 20)
    came = f"it came back within {back[0] + 1} more" if back.size else "it did not come back"
    unit = "steps" if high.size == np.trunc(np.nansum(run.column("loss.n_batches").values)) else "buckets of steps"
    epochs = sorted({int(run.epochs[series.rows[spike]]) for spike, _ in spikes})
    return Finding(
        description=f"In epoch {epoch}{'' if step is None else f', at step {step},'} the loss was {high[at]:.4g}, "
        f"after {level:.4g} before; {came}{f' {unit}' if back.size else ''}.",
        epoch=epoch,
        key=LOSS,
        value=float(high[at]),
        count=len(spikes),
        evidence=evidence([LOSS], epochs, [float(high[spike]) for spike, _ in spikes], limits, "loss_spike_z")
        | {"step": step, "usual": level},
    )


def _loss_spikes(run: Run, limits: DiagnosticThresholds, series: _Losses, bar: Bar) -> list[tuple[int, float]]:
    """Return the places of spikes with the level before each; what follows a spike is no other one."""
    high, mean, start = series.high, series.mean, series.start
    if not np.isfinite(series.first) or start >= high.size:
        return []
    least = limits.gradient_spike_warm_up // 2
    found: list[tuple[int, float]] = []
    calm = start
    lowest = min(bar(float(np.min(mean[np.isfinite(mean)], initial=np.inf))), bar(series.first))
    for at in np.flatnonzero(np.isfinite(high[start:]) & (high[start:] > lowest))[:_MOST] + start:
        before = mean[max(0, calm - limits.gradient_spike_window, at - limits.gradient_spike_window) : at]
        before = before[np.isfinite(before)]
        if at < calm or before.size < least:
            continue
        level = median(before[-8:])
        if high[at] <= bar(level):
            continue
        jitter = max(noise(before), _LEAST_SIGMA * abs(level))
        if high[at] - level > limits.loss_spike_z * jitter:
            found.append((int(at), level))
            # The steps after it are its own, until the loss has come down again.
            calm = int(at) + limits.gradient_spike_warm_up
    return found
