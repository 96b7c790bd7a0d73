"""Checks on how the losses of single batches spread within an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.checks.start import first_steps
from diagnostics.engine.curves import Floats, median, noise, ratio
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

SPREAD = "loss.train_std"
LARGEST = "loss.train_max"


@check(
    "high-loss-variance",
    title="High loss variance",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(TRAIN, SPREAD),
    section="5.5",
)
def high_loss_variance(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The loss differs wildly between the batches of one epoch.

    ## What it does
    Compares the standard deviation of an epoch's batch losses with their mean; above one half is a lot. A loss near
    zero makes every spread look large, so the robust profile compares with at least a quarter of the first loss, or of
    the loss of guessing where the number of classes is known. It takes the trend within the epoch out where step series
    show it, and leaves out the first epoch, in which the loss falls by design. A single noisy epoch is information, two
    in a row are a warning, unless the mean falls all the same, or the run keeps what it has gained: then the
    batches are small, or their samples differ, but they do their work. A run of one epoch is judged by the jitter
    around its curve. In adversarial and reinforcement training it is information.

    ## Why it matters
    Gradients of such batches point into different directions. Steps undo each other, and progress is slow or luck.

    ## How to fix it
    Increase the batch size or accumulate gradients; if memory does not allow it, lower the learning rate.

    ```python
    loader = torch.utils.data.DataLoader(dataset, batch_size=128, shuffle=True)  # was 32
    ```
    """
    mean, spread = run.column(TRAIN).values, run.column(SPREAD).values
    share = ratio(spread, mean)
    for row in np.flatnonzero(share > limits.loss_variance_ratio):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"The batch losses of epoch {epoch} spread by {spread[row]:.4g} around a mean of "
            f"{mean[row]:.4g} ({share[row]:.0%}).",
            epoch=epoch,
            key=SPREAD,
            value=float(spread[row]),
            evidence=evidence([SPREAD, TRAIN], [epoch], [float(spread[row])], limits, "loss_variance_ratio")
            | {"ratio": float(share[row])},
        )


@high_loss_variance.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    findings = list(high_loss_variance.rule(run, limits))
    if not findings:
        return
    share = share_of_scale(run, limits)
    noisy = share > limits.loss_variance_ratio
    beside = np.concatenate(([False], noisy[:-1])) | np.concatenate((noisy[1:], [False]))
    short = np.count_nonzero(np.isfinite(run.column(TRAIN).values)) < limits.short_history
    judged = {epoch: row for row, epoch in enumerate(run.epochs.tolist())}
    for found in findings:
        row = judged[found.epoch] if found.epoch is not None else 0
        if row == 0 and len(run) > 1:
            found.suppressed = "the loss falls within the first epoch, which spreads it"
        elif not noisy[row]:
            found.suppressed = f"against the scale of the run's loss the spread is {share[row]:.0%}"
        elif not short and (not beside[row] or _progresses(run, row, limits) or _keeps_its_gain(run, limits)):
            found.severity = IssueSeverity.info
        yield found


def _progresses(run: Run, row: int, limits: DiagnosticThresholds) -> bool:
    """Return whether the mean loss falls through the noise: then the batches are small, but do their work."""
    mean = run.column(TRAIN).values
    before, after = float(mean[row - 1]), float(np.fmin.reduce(mean[row : row + 2]))
    return before - after > limits.noisy_progress_pct * abs(before)


def _keeps_its_gain(run: Run, limits: DiagnosticThresholds) -> bool:
    """Return whether the run has learned, and never gave back more than a tenth of what it had gained.

    Mixed-up samples and targets with heavy-tailed noise spread the losses for good; it costs nothing as long as the
    mean does not give back what it won.
    """
    loss = run.column(TRAIN)
    known = loss.values[loss.finite]
    best = float(known[0] - known.min())
    lost = float(np.max(known - np.minimum.accumulate(known)))
    return best > limits.stuck_improvement_pct * abs(float(known[0])) and lost <= limits.divergence_descent_pct * best


def share_of_scale(run: Run, limits: DiagnosticThresholds) -> Floats:
    """Return the spread of each epoch's batch losses, less its trend, over the scale of the run's loss."""
    mean, spread = run.column(TRAIN).values, run.column(SPREAD).values
    known = mean[np.isfinite(mean)]
    if not known.size:
        return np.full(len(run), np.nan)
    floor = limits.loss_floor_pct * max(abs(float(known[0])), float(known[0] - known.min()), task_of(run).chance or 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        around = np.sqrt(np.maximum(0.0, spread**2 - _trend_variance(run)))
    if len(run) == 1 and (jitter := _jitter_of_steps(run, limits)) is not None:
        around = np.fmin(around, jitter)
    return ratio(around, np.maximum(np.abs(mean), floor))


def _jitter_of_steps(run: Run, limits: DiagnosticThresholds) -> float | None:
    """Return the standard deviation of single batch losses around the curve of the first epoch, which is no straight
    line; None if there are too few steps. The mean of a bucket scatters less than its steps do."""
    steps, batches = first_steps(run), run.column("loss.n_batches").values[:1]
    steps = steps[np.isfinite(steps)]
    if steps.size < limits.gradient_spike_warm_up:
        return None
    each = float(batches[0]) / steps.size if batches.size and np.isfinite(batches[0]) else 1.0
    return noise(steps) * float(np.sqrt(max(1.0, each)))


def _trend_variance(run: Run) -> Floats:
    """Return the variance of each epoch's losses that a straight line through its buckets explains."""
    series = run.steps("loss_mean")
    usable = np.isfinite(series.values)
    rows, losses = series.rows[usable], series.values[usable].astype(np.float64)
    if not rows.size:
        return np.zeros(len(run))
    counts = np.bincount(rows, minlength=len(run))
    first = np.cumsum(counts) - counts
    place = np.arange(rows.size) - first[rows] - (counts[rows] - 1) / 2
    together = np.bincount(rows, place * losses, len(run)).astype(np.float64)
    spread = np.bincount(rows, place * place, len(run)).astype(np.float64)
    # Three points lie on a line too often to take it for a trend.
    return np.where(counts >= 4, ratio(together**2, spread) / np.maximum(counts, 1), 0.0)


@check(
    "gradient-instability",
    title="Gradient instability",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(TRAIN, LARGEST),
    section="5.6",
)
def gradient_instability(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """One batch had a loss many times the mean of its epoch.

    ## What it does
    Compares the largest batch loss of an epoch with the mean; more than 20 times is a spike. The robust profile asks
    that the spike also is twice as high as all batch losses of the first epoch, or within it as the first steps: late
    in training a mean near zero makes one hard sample look like a spike.

    ## Why it matters
    Such a batch makes a gradient to match, and one step along it can undo the work of many. The usual origins are
    broken samples, exploding activations and a learning rate at the edge of what is stable.

    ## How to fix it
    Clip the gradients, and look at the samples of that batch.

    ```python
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ```
    """
    mean, largest = run.column(TRAIN).values, run.column(LARGEST).values
    times = ratio(largest, mean)
    for row in np.flatnonzero(times > limits.gradient_instability_ratio):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"In epoch {epoch} one batch had a loss of {largest[row]:.4g}, {times[row]:.3g} times the mean "
            f"of {mean[row]:.4g}.",
            epoch=epoch,
            key=LARGEST,
            value=float(largest[row]),
            evidence=evidence([LARGEST, TRAIN], [epoch], [float(largest[row])], limits, "gradient_instability_ratio")
            | {"ratio": float(times[row])},
        )


@gradient_instability.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    mean, largest = run.column(TRAIN), run.column(LARGEST)
    start = float(mean.values[mean.finite[0]]) if mean.finite.size else 0.0
    for found in gradient_instability.rule(run, limits):
        first = first_steps(run)[:3]
        usual = max(start, median(first)) if first.size and np.isfinite(first).all() else start
        if largest.finite.size and found.epoch != int(run.epochs[largest.finite[0]]):
            usual = max(start, float(largest.values[largest.finite[0]]))
        bar = limits.gradient_instability_start_ratio * abs(usual)
        if found.value <= bar:
            found.suppressed = (
                f"the spike of {found.value:.4g} is not above {bar:.4g}, by the losses of the first epoch"
            )
        yield found
