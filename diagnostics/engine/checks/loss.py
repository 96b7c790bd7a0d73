"""Checks on the level of the training loss, and what they share with other checks on it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Floats, Ints, median, noise, ratio, rise_p_value
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.stages import NEW_STAGE, begins_stage
from diagnostics.engine.stepwise import lasting_rise
from diagnostics.engine.task import ACCURACY, game_of, task_of, trained_before
from diagnostics.engine.thresholds import DiagnosticThresholds

TRAIN = "loss.train_mean"


_LONG, _FEW = 500, 100
# Rows of a run, and runs of the length of an event in it, above which the event is one of many.


def doubt(run: Run, event: slice = slice(0, 0)) -> Floats:
    """Return, per epoch, the standard error of a difference of two mean training losses; 0 where nothing tells it.

    The larger of what the batches of the epoch say (std / sqrt(n)) and what the curve's own jitter says, without the
    rows of ``event``. In long runs a short event does not count at all among the others, and is not taken out: who
    looks at each of many events would read the whole run for each.
    """
    if len(run) > _LONG and event.stop is not None and _FEW * (event.stop - event.start) < len(run):
        event = slice(0, 0)
    key = "doubt", event.start, event.stop
    if key not in run.memory:
        run.memory[key] = _doubt(run, event)
    return np.asarray(run.memory[key])


def _doubt(run: Run, event: slice) -> Floats:
    loss = run.column(TRAIN)
    batches = run.column("loss.n_batches").values
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(batches > 1, run.column("loss.train_std").values / np.sqrt(batches), 0.0)
    error = np.where(np.isfinite(error), error, 0.0)
    return np.asarray(np.sqrt(2.0) * np.maximum(error, noise(loss.values, event)))


def event_at(loss: Floats, base: int, peak: int) -> slice:
    """Return the rows of the rise from row ``base`` to row ``peak``, and of what follows until half of it is won back.

    What the loss does up there tells nothing about the noise before it, and a jump must not be its own excuse.
    """
    back = np.flatnonzero(loss[peak + 1 :] <= loss[base] + (loss[peak] - loss[base]) / 2)
    return slice(base + 1, peak + 1 + int(back[0]) if back.size else loss.size)


def descent_before(run: Run, row: int) -> float:
    """Return how far the training loss had fallen from its highest value when epoch ``row`` ended."""
    if "descent" not in run.memory:
        loss = run.column(TRAIN).values
        finite = np.isfinite(loss)
        highest = np.maximum.accumulate(np.where(finite, loss, -np.inf))
        run.memory["descent"] = np.where(finite, highest - loss, 0.0)
    return float(run.memory["descent"][row])


@check(
    "loss-explosion",
    title="Loss explosion",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.epoch,
    needs=(TRAIN,),
    section="5.2",
    each=True,
)
def loss_explosion(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The training loss more than doubles from one epoch to the next.

    ## What it does
    Compares the mean training loss of each epoch with that of the epoch before. The robust profile also asks that
    the jump is larger than the noise before it (six standard errors) and takes back at least half of what had been
    gained, which a warm restart on a small loss does not. It judges losses at or below zero too, by their range:
    there the jump has to take back everything that had been gained. In a run of fewer than five epochs it looks at the
    logged steps, too: losses that stay at three times all before them.

    It is information where half of the jump is won back within three epochs: weights that were thrown away do not come
    back so soon. So it is where the loss is higher from the very first step of an epoch, out of calm, and falls again:
    then the data or the objective is new, as in a harder stage of a curriculum. And so it is in adversarial and
    reinforcement training, whose loss is no measure of progress.

    ## Why it matters
    A loss that doubles within one epoch seldom comes back by itself. The weights were thrown far from where they
    were useful, and training starts again from a worse place than its beginning.

    ## How to fix it
    Lower the learning rate and clip the gradients before the optimizer step.

    ```python
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)  # a tenth of what it was
    ```
    """
    loss = run.column(TRAIN).values
    growth = ratio(loss[1:], loss[:-1])
    for row in np.flatnonzero(growth > limits.loss_explosion_ratio) + 1:
        yield _jump(run, limits, int(row), float(growth[row - 1]))


@loss_explosion.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    loss = run.column(TRAIN).values
    below = np.flatnonzero(loss[:-1] <= 0) + 1
    doubled = _doubled(loss, limits)
    for found, row in zip(loss_explosion.rule(run, limits), doubled, strict=True):
        jump, gained = float(loss[row] - loss[row - 1]), descent_before(run, row - 1)
        noisy = _noise_of_jump(run, limits, row)
        if jump <= limits.explosion_descent_pct * gained:
            found.suppressed = f"the jump of {jump:.3g} takes back only {jump / gained:.0%} of what had been gained"
        elif jump <= noisy:
            found.suppressed = f"the jump of {jump:.3g} is not above {noisy:.3g} (noise)"
        elif _wins_back(loss, int(row), limits):
            found.severity = IssueSeverity.info
        elif begins_stage(run, limits, int(row)):
            found.severity = IssueSeverity.info
            found.description = f"{found.description.rstrip('.')}, {NEW_STAGE}."
        yield found
    yield from _by_steps(run, limits)
    for row in below:
        jump, gained = float(loss[row] - loss[row - 1]), descent_before(run, int(row) - 1)
        settled = np.count_nonzero(np.isfinite(loss[:row])) >= limits.recovery_epochs
        if settled and jump > max(gained, _noise_of_jump(run, limits, int(row))) and gained > 0:
            yield _jump(run, limits, int(row), jump / gained)


def _by_steps(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    rise = lasting_rise(run, limits)
    if rise is not None and not rise.recovered and rise.high > limits.blow_up_ratio * rise.highest_before:
        epoch = int(run.epochs[rise.row])
        yield Finding(
            description=f"In epoch {epoch} the training loss went from {rise.low:.4g} to {rise.high:.4g} and more, and "
            "stayed there.",
            epoch=epoch,
            key="steps.loss_mean",
            value=rise.high,
            evidence=evidence(["steps.loss_mean"], [epoch], [rise.high], limits, "blow_up_ratio")
            | {"before": rise.low, "ratio": rise.high / rise.low},
        )


def _wins_back(loss: Floats, row: int, limits: DiagnosticThresholds) -> bool:
    after = loss[row + 1 : row + 1 + limits.recovery_epochs]
    return bool(np.any(after <= loss[row - 1] + (loss[row] - loss[row - 1]) / 2))


def _noise_of_jump(run: Run, limits: DiagnosticThresholds, row: int) -> float:
    event = event_at(run.column(TRAIN).values, row - 1, row)
    return limits.explosion_jump_se * float(doubt(run, event)[row - 1])


def _doubled(loss: Floats, limits: DiagnosticThresholds) -> Ints:
    return np.flatnonzero(ratio(loss[1:], loss[:-1]) > limits.loss_explosion_ratio) + 1


def _jump(run: Run, limits: DiagnosticThresholds, row: int, growth: float) -> Finding:
    before, after = run.column(TRAIN).values[row - 1 : row + 1]
    factor = f" ({growth:.3g} times as much)" if before > 0 else ""
    return Finding(
        description=f"The training loss went from {before:.4g} to {after:.4g} within one epoch{factor}.",
        epoch=int(run.epochs[row]),
        key=TRAIN,
        value=float(after),
        evidence=evidence([TRAIN], [int(run.epochs[row])], [float(after)], limits, "loss_explosion_ratio")
        | {"before": float(before), "ratio": growth},
    )


@check(
    "loss-plateau",
    title="Loss plateau",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(TRAIN,),
    section="5.3",
)
def loss_plateau(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The training loss has stopped improving.

    ## What it does
    Compares the mean training loss of the last epoch with that of two epochs before; less than 1 % improvement is a
    plateau. Every run that converged ends like that, so from five epochs on the robust profile reports a plateau only
    if the run is stuck: if it has gained less than noise, or less than 5 %, since its start, and did not begin with a
    model that knew its task. A run that tells of a trained model has little left to gain, however short it is.
    Adversarial and reinforcement training is left out: its loss says who is ahead.

    ## Why it matters
    Epochs on a plateau cost as much as any other and bring nothing. A plateau right from the start means that the
    model is not learning at all.

    ## How to fix it
    Let a scheduler lower the learning rate when progress stops; if the loss never fell, raise the learning rate and
    check that the parameters get gradients.

    ```python
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=3)
    scheduler.step(val_loss)  # after each epoch
    ```
    """
    loss = run.column(TRAIN).values[-limits.loss_plateau_epochs :]
    if loss.size < limits.loss_plateau_epochs or not np.isfinite(loss).all() or loss[0] <= 0:
        return
    gain = float((loss[0] - loss[-1]) / loss[0])
    if gain < limits.loss_plateau_improvement:
        epochs = run.epochs[-loss.size :].tolist()
        yield Finding(
            description=f"The training loss improved by {gain:.2%} over the last {loss.size} epochs, from "
            f"{loss[0]:.4g} to {loss[-1]:.4g}.",
            epoch=epochs[-1],
            key=TRAIN,
            value=float(loss[-1]),
            evidence=evidence([TRAIN], epochs, loss.tolist(), limits, "loss_plateau_improvement")
            | {"improvement": gain},
        )


@loss_plateau.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in loss_plateau.rule(run, limits):
        found.suppressed = _not_stuck(run, limits, found.evidence["improvement"])
        yield found


def _not_stuck(run: Run, limits: DiagnosticThresholds, gain: float) -> str | None:
    if game := game_of(run):
        return f"the loss need not fall: {game!r} is told of the run"
    if gain < -limits.loss_plateau_improvement:
        return f"the loss rises ({-gain:.1%}), it does not rest"
    column = run.column(TRAIN)
    loss = column.values[column.finite]
    at_chance = is_at_chance(run, limits)
    if not at_chance and (told := trained_before(run)):
        return f"the run began with a trained model: {told!r} is told of it"
    if not at_chance and loss.size < limits.short_history and _knows_something(run, limits, loss):
        return "the loss is far below that of guessing: the run went on from what was learned before"
    if at_chance or loss.size < limits.short_history:
        return None
    learned = float(loss[0] - median(loss[-limits.loss_plateau_epochs :]))
    # The first half of a curve may bend so much that its noise cannot be told from it.
    noisy = limits.stuck_improvement_se * median(doubt(run, slice(0, len(run) // 2)))
    if learned > max(noisy, limits.stuck_improvement_pct * abs(float(loss[0]))):
        return f"converged: the loss had fallen by {learned:.3g} from {loss[0]:.4g} before it came to rest"
    if not at_chance and learned_the_little(run, limits):
        return "converged: training and validation loss fell by a trend that has flattened"
    if knew_its_task(run, limits):
        known = _known_task(run, limits)
        return f"the run began with a trained model: its first loss of {loss[0]:.4g} is below {known:.3g}"
    return None


def _knows_something(run: Run, limits: DiagnosticThresholds, loss: Floats) -> bool:
    chance = task_of(run).chance
    return chance is not None and bool(loss.max() < limits.near_chance_pct * chance)


@once
def is_at_chance(run: Run, limits: DiagnosticThresholds) -> bool:
    """Return whether the validation accuracy ends at that of guessing. A loss that blew up in the first epoch and fell
    back to guessing has come a long way, and learned nothing."""
    accuracy, classes = run.column(ACCURACY), task_of(run).classes
    if classes is None or not accuracy.finite.size:
        return False
    last = median(accuracy.values[accuracy.finite[-3:]])
    # Of ten thousand classes, to be right once in twenty times is a lot.
    return last < min(2.0, 1 + limits.chance_margin_pct * (classes - 1)) / classes


@once
def learned_the_little(run: Run, limits: DiagnosticThresholds) -> bool:
    """Return whether training and validation loss both fell, by a significant trend or more than their noise, and
    flattened: data that are mostly noise leave little to gain. A learning rate that is too low makes a loss fall as
    well, but straight on."""
    val = run.column("loss.val.val_loss")
    rows = np.intersect1d(run.column(TRAIN).finite, val.finite)
    half = rows.size // 2
    if rows.size < limits.slow_epochs:
        return False
    for loss in (run.column(TRAIN).values[rows], val.values[rows]):
        begun, middle, end = (
            float(np.median(loss[part])) for part in (slice(2), slice(half - 1, half + 2), slice(-3, None))
        )
        first, second = begun - middle, middle - end
        falls = rise_p_value(-loss) < limits.trend_p_value or begun - end > limits.divergence_rise_se * noise(loss)
        if not falls or second >= limits.slow_flattening_pct * first:
            return False
    return True


@once
def knew_its_task(run: Run, limits: DiagnosticThresholds) -> bool:
    """Return whether the run began with a trained model: its first loss is far below that of guessing, or that of the
    training data is far below that of the validation data from the first epoch on, and both rest there. A new model
    does equally badly on both."""
    loss, val = run.column(TRAIN), run.column("loss.val.val_loss")
    if not loss.finite.size:
        return False
    first = float(loss.values[loss.finite[0]])
    if run.column(ACCURACY) and first < _known_task(run, limits):
        return True
    if not val.finite.size or task_of(run).chance is not None:
        return False
    rests = all(np.ptp(each.values[each.finite]) <= limits.stuck_improvement_pct * first for each in (loss, val))
    return bool(rests and first > 0 and val.values[val.finite].min() > limits.known_by_heart_ratio * first)


def _known_task(run: Run, limits: DiagnosticThresholds) -> float:
    return limits.known_task_pct * (task_of(run).chance or math.log(2))
