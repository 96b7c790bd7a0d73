"""Checks on the size of the steps: learning rates that are too high or too low."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN, descent_before, doubt, event_at, knew_its_task
from diagnostics.engine.checks.spikes import lone_gradient
from diagnostics.engine.checks.start import blow_up, first_steps
from diagnostics.engine.curves import Floats, median, rise_p_value
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.stages import begins_stage
from diagnostics.engine.task import task_of, trained_before
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "learning-rate-too-high",
    title="Learning rate too high",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(TRAIN,),
    section="11.2",
)
def learning_rate_too_high(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The steps are too large: the loss jumps about instead of falling.

    ## What it does
    Reports a loss that changes its direction in at least half of six or more epochs. Every converged run does that
    too, so the robust profile asks for one of nine stronger signs: a loss that blew up within the first epoch, one
    that did so and needed a quarter of the run to come back to its start, or came back and learned nothing since, one
    that had learned nothing before it was thrown to three times its start, one that stays at three times the loss of
    guessing or more without coming down, one that rose that far from a usual start and spends half of the run at
    guessing or above, one that fell, jumped back by more than a tenth of its way and stayed there, one that fell by a
    fifth and ends above its start, validation included, or both of which rest a fifth above their best,
    or swings that are larger than noise and than a fifth of the descent. What begins with a single huge gradient, a
    hundred times the usual at a step whose loss is as usual, is the fault of that step and not of the rate.
    Of adversarial and reinforcement training it says no more than information.

    ## Why it matters
    Each step overshoots the valley it should go down into. Progress is lost as fast as it is made, or for good.

    ## How to fix it
    Lower the learning rate three- to tenfold, and let it decay.

    ```python
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    ```
    """
    loss = _known(run)
    turns = _turns(loss)
    if loss.size >= limits.oscillation_epochs and turns >= limits.oscillation_pct * (loss.size - 2):
        yield _unstable(run, limits, f"The training loss changed its direction {turns} times in {loss.size} epochs")


@learning_rate_too_high.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    starts = (_blown_up, _thrown, _far_above_chance, _fell_to_chance, _slow_return)
    signs = (*starts, _relapse, _lost_all, _lost_much, _swings)
    found = next((said for sign in signs if (said := sign(run, limits)) is not None), None)
    if found is not None:
        unstable = _unstable(run, limits, found)
        event = lone_gradient(run, limits)
        if event is not None and _blown_up(run, limits) is None:
            at = f"epoch {event[0]}" if event[1] is None else f"step {event[1]}"
            unstable.suppressed = f"it began with a single huge gradient, in {at}: steps had the right size until then"
        yield unstable
        return
    for held in learning_rate_too_high.rule(run, limits):
        held.suppressed = "the turns are as small as those of any converged run"
        yield held


@once
def _known(run: Run) -> Floats:
    column = run.column(TRAIN)
    return column.values[column.finite]


def _turns(loss: Floats) -> int:
    ways = np.sign(np.diff(loss))
    return int(np.count_nonzero(ways[1:] * ways[:-1] < 0))


def _blown_up(run: Run, limits: DiagnosticThresholds) -> str | None:
    found = blow_up(run, limits)
    return found and f"Within the first epoch the loss went from {found[0]:.4g} to {found[1]:.4g} and never recovered"


def _slow_return(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how the first epoch threw the loss far above its first step, and for how long it stayed above that."""
    first, loss = first_steps(run), _known(run)
    if loss.size < limits.short_history or first.size < limits.blow_up_steps or not np.isfinite(first).all():
        return None
    chance = task_of(run).chance or 0.0
    usual = max(float(first[0]), limits.blow_up_chance_ratio * chance / limits.blow_up_ratio)
    if first[0] <= 0 or first.max() <= limits.blow_up_ratio * usual or knew_its_task(run, limits):
        return None
    rose = f"Within the first epoch the loss went from {first[0]:.4g} to {first.max():.4g}"
    above = int(np.argmax(np.append(loss, -np.inf) < usual))
    if above >= max(limits.recovery_epochs, limits.slow_return_pct * loss.size):
        return f"{rose}, and took {above} of {loss.size} epochs to come back"
    gained = float(loss[1] - np.median(loss[-3:]))
    rests = loss[1] > limits.swing_pct * first[0] and gained < limits.stuck_improvement_pct * abs(float(loss[1]))
    return f"{rose}, came back to {loss[1]:.4g} and has learned nothing since" if rests else None


def _thrown(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how the loss was thrown far above its start by steps of a run that learned nothing before or after."""
    first, steps = first_steps(run), run.steps("loss_mean").values.astype(np.float64)
    loss = _known(run)
    if loss.size < limits.short_history or first.size < limits.blow_up_steps or not np.isfinite(first[:3]).all():
        return None
    start, peak = median(first[:3]), int(np.nanargmax(steps))
    kept = limits.blow_up_recovery_pct * start
    before = steps[max(0, peak - 2 * limits.blow_up_steps) : peak]
    before = before[np.isfinite(before)]
    learned = bool(before.size and median(before) < kept) or median(loss[-3:]) < kept
    far = steps[peak] > limits.blow_up_ratio * start and loss.max() > limits.loss_explosion_ratio * start
    if start <= 0 or learned or not far or not np.isfinite(steps[peak]) or knew_its_task(run, limits):
        return None
    return f"The training loss was thrown from {start:.4g} to {steps[peak]:.4g} and never got below its start"


def _far_above_chance(run: Run, limits: DiagnosticThresholds) -> str | None:
    chance, loss = task_of(run).chance, _known(run)
    if chance is None or loss.size < 3 or loss.min() <= limits.initial_loss_ratio * chance:
        return None
    if median(loss[-3:]) < limits.far_above_chance_fall_pct * loss[0]:
        return None
    return f"The training loss stays at {loss.min():.4g} or more, while guessing costs {chance:.3g}"


def _fell_to_chance(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how the first epoch threw the model far above guessing, to which the loss came back and no further.

    A start that is too high by itself, as of large weights or inputs, is no matter of the rate: the first step tells.
    """
    chance, loss, first = task_of(run).chance, _known(run), first_steps(run)[:1]
    if chance is None or loss.size < limits.short_history or not np.isfinite(first).all() or not first.size:
        return None
    far = limits.initial_loss_ratio * chance
    if first[0] > far or loss[0] <= far or median(loss[1:]) <= (1 - limits.stuck_improvement_pct) * chance:
        return None
    return f"The first epoch threw the training loss to {loss[0]:.4g}; since then it rests at guessing ({chance:.3g})"


def _relapse(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how the loss fell, more than doubled within one epoch, and stayed where it was thrown."""
    loss = run.column(TRAIN).values
    for row in np.flatnonzero(loss[1:] > limits.loss_explosion_ratio * np.abs(loss[:-1])) + 1:
        jump = float(loss[row] - loss[row - 1])
        noise = limits.explosion_jump_se * (_error(run, int(row) - 1) or _jitter(run, int(row)))
        stays = loss[row + 1 : row + 1 + limits.recovery_epochs]
        rate = run.column("learning_rate").values
        # A warm restart raises the rate on purpose.
        restarts = bool(rate[row] > 1.5 * rate[row - 1])
        lost = limits.divergence_descent_pct * descent_before(run, int(row) - 1)
        if restarts or stays.size < limits.recovery_epochs or jump <= max(noise, lost):
            continue
        if begins_stage(run, limits, int(row)):
            continue
        if np.all(stays > loss[row - 1] + jump / 2):
            return f"The training loss jumped from {loss[row - 1]:.4g} to {loss[row]:.4g} and stayed there"
    return None


def _lost_all(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how the run lost more than all that it had learned, in training and, where there is one, validation."""
    column = run.column(TRAIN)
    loss = column.values[column.finite]
    if loss.size < limits.short_history or loss[0] <= 0:
        return None
    best = int(np.argmin(loss))
    end = loss[best + 1 :][-3:]
    learned = float(loss[0] - loss[best]) > limits.swing_pct * float(loss[0])
    if not learned or end.size < 2 or np.median(end) <= loss[0] or _ends_better(run.column("loss.val.val_loss").values):
        return None
    row = int(column.finite[best + 1 + int(np.argmax(np.diff(loss[best:])))])
    if begins_stage(run, limits, row) or _rate_jumped(run):
        return None
    return f"The training loss fell from {loss[0]:.4g} to {loss[best]:.4g} and ends at {loss[-1]:.4g}, above its start"


def _lost_much(run: Run, limits: DiagnosticThresholds) -> str | None:
    """Return how training and validation loss both fell and came to rest well above their best; None if they did not.

    Each alone has another meaning: training on harder data, or overfitting.
    """
    told: list[str] = []
    for name, called in ((TRAIN, "training"), ("loss.val.val_loss", "validation")):
        column = run.column(name)
        loss = column.values[column.finite]
        if loss.size < limits.oscillation_validations:
            return None
        best = int(np.argmin(loss))
        level, since = float(loss[best]), loss[best + 1 :]
        least = limits.swing_pct * max(abs(level), float(loss[0]) - level)
        noisy = limits.stuck_improvement_se * _error(run, int(column.finite[best])) if name == TRAIN else 0.0
        if since.size <= limits.recovery_epochs or float(since[1:].min()) - level <= max(least, noisy):
            return None
        told.append(f"the {called} loss came to {level:.4g} and rests at {np.median(since[1:]):.4g}")
    return None if _rate_jumped(run) else ", ".join(told).capitalize()


def _ends_better(validation: Floats) -> bool:
    known = validation[np.isfinite(validation)]
    return bool(known.size >= 2 and np.median(known[-2:]) < known[0])


def _rate_jumped(run: Run) -> bool:
    rate = run.column("learning_rate").values
    return bool(np.any(rate[1:] > 1.5 * rate[:-1]))


def _error(run: Run, row: int) -> float:
    """Return the standard error of a difference of two means as the batches of one epoch say it; 0 if they do not."""
    spread, batches = run.column("loss.train_std").values[row], run.column("loss.n_batches").values[row]
    return float(np.sqrt(2 / batches) * spread) if batches > 1 and np.isfinite(spread) else 0.0


def _jitter(run: Run, row: int) -> float:
    return float(doubt(run, event_at(run.column(TRAIN).values, row - 1, row))[row - 1])


def _swings(run: Run, limits: DiagnosticThresholds) -> str | None:
    loss = _known(run)
    if loss.size < limits.oscillation_epochs or _turns(loss) < limits.oscillation_pct * (loss.size - 2):
        return None
    rate = run.column("learning_rate").values
    if np.count_nonzero(rate[1:] > 1.5 * rate[:-1]) > 1:
        # Warm restarts: the schedule swings, and the loss with it.
        return None
    batches, spread = run.column("loss.n_batches").values, run.column("loss.train_std").values
    with np.errstate(invalid="ignore", divide="ignore"):
        error = float(np.nanmedian(spread / np.sqrt(batches))) if np.isfinite(spread * batches).any() else np.nan
    # The swings are what is to be judged, so only the batches can say what noise is.
    if not np.isfinite(error):
        return None
    size, best = median(np.abs(np.diff(loss))), float(loss[0] - loss.min())
    bars = (limits.divergence_rise_se * error, limits.swing_pct * abs(median(loss)), limits.swing_pct * best)
    return f"The training loss swings by {size:.3g} from epoch to epoch" if size > max(bars) else None


def _unstable(run: Run, limits: DiagnosticThresholds, said: str) -> Finding:
    rate = run.column("learning_rate")
    at = f", at a learning rate of {rate.values[rate.finite].max():.3g}" if rate.finite.size else ""
    loss = run.column(TRAIN).values
    return Finding(
        description=f"{said}{at}.",
        key=TRAIN,
        value=float(loss[-1]) if loss.size else None,
        evidence=evidence([TRAIN], [], [], limits, "oscillation_pct"),
    )


@check(
    "learning-rate-too-low",
    title="Learning rate too low",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(TRAIN,),
    section="11.2",
)
def learning_rate_too_low(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The steps are too small: the loss falls steadily, but hardly.

    ## What it does
    Looks for a loss that falls in most of eight or more epochs and in all by less than 10 %. The robust profile also
    asks that the fall is a significant trend and does not flatten (the second half of the run brings as much as the
    first, or nearly), and that the run did not begin with a trained model. It is a warning where the number of
    classes is known and the loss is still near that of guessing, else information.

    Where the size of updates was measured it decides: if in the whole run no step moved any layer by more than a ten
    thousandth of its weights while the loss fell by less than 10 %, the steps are too small whether a fall can be told
    from noise or not. About a thousandth is usual (Stanford CS231n, notes on training;
    TheDeepChecker, Ben Braiek and Khomh, TOSEM 32 (2023), takes 1e-4 for too little).

    ## Why it matters
    The direction is right and the pace is not: the run ends long before it gets anywhere.

    ## How to fix it
    Multiply the learning rate by ten, and see that no schedule or gradient clipping makes the steps smaller.

    ```python
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ```
    """
    loss = _known(run)
    if loss.size < limits.slow_epochs or loss[0] <= 0:
        return
    gain = float(loss[0] - loss[-1]) / float(loss[0])
    falls = np.count_nonzero(np.diff(loss) < 0) / (loss.size - 1)
    if 0 < gain < limits.slow_improvement_pct and falls >= limits.slow_steady_pct:
        rate = run.column("learning_rate")
        at = f" at a learning rate of {median(rate.values[rate.finite]):.3g}" if rate.finite.size else ""
        yield Finding(
            description=f"In {loss.size} epochs the training loss fell steadily{at}, but only by {gain:.2%}, from "
            f"{loss[0]:.4g} to {loss[-1]:.4g}.",
            key=TRAIN,
            value=float(loss[-1]),
            evidence=evidence([TRAIN], [], [], limits, "slow_improvement_pct") | {"improvement": gain},
        )


@learning_rate_too_low.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    if (said := tiny_updates(run, limits)) is not None:
        yield said
        return
    for found in learning_rate_too_low.rule(run, limits):
        found.suppressed = _not_slow(run, limits)
        chance = task_of(run).chance
        if chance is None or _known(run)[-1] < limits.near_chance_pct * chance:
            found.severity = IssueSeverity.info
        yield found


def _not_slow(run: Run, limits: DiagnosticThresholds) -> str | None:
    loss, chance = _known(run), task_of(run).chance
    half = loss.size // 2
    first, second = float(loss[0] - loss[half]), float(loss[half] - loss[-1])
    if rise_p_value(-loss) >= limits.trend_p_value:
        return "the fall is no significant trend"
    if second < limits.slow_flattening_pct * first:
        return "the loss flattens: it converges"
    if knew_its_task(run, limits) or (chance and loss[0] < limits.known_task_pct * chance):
        return "the run began with a trained model"
    return None


@once
def clipped_away(run: Run, limits: DiagnosticThresholds) -> float | None:
    """Return how many times shorter clipping makes the steps, if it cuts nearly all of them to less than a tenth.

    Without clipping plain gradient descent moves the weights by the learning rate times the gradient norm. Adam and its
    like do not care about the scale of gradients: they move them by more than that.
    """
    share, norm = run.column("gradients.clipped_share"), run.column("gradients.norm_mean").values
    rate = run.column("learning_rate").values
    moved = run.layer_matrix("update_ratio").values * run.layer_matrix("weight_norm").values
    total = np.sqrt(np.nansum(np.square(moved, dtype=np.float64), axis=1))
    known = np.isfinite(norm * rate) & (total > 0)
    if not known.any() or not share.finite.size or median(share.values[share.finite]) <= limits.clipped_pct:
        return None
    cut = median((norm * rate)[known] / total[known])
    return cut if cut > limits.clipped_away_ratio else None


@once
def tiny_updates(run: Run, limits: DiagnosticThresholds) -> Finding | None:
    """Return what says that no step of the run moved anything, None if steps did or the loss fell all the same."""
    moved, loss = run.layer_matrix("update_ratio").values, _known(run)
    known = moved[np.isfinite(moved)]
    if loss.size < limits.short_history or not known.size or not 0 < known.max() < limits.tiny_update_ratio:
        return None
    fallen = float(loss[0] - median(loss[-3:]))
    if fallen > limits.slow_improvement_pct * abs(float(loss[0])) or knew_its_task(run, limits):
        return None
    rate = run.column("learning_rate")
    at = f" at a learning rate of {median(rate.values[rate.finite]):.3g}" if rate.finite.size else ""
    cut = clipped_away(run, limits)
    why = "; nearly every gradient is clipped, so the limit of the clipping decides" if cut is not None else ""
    return Finding(
        description=f"No step moved any layer by more than {known.max():.2g} of its weights{at}{why}. In {loss.size} "
        f"epochs the training loss went from {loss[0]:.4g} to {loss[-1]:.4g}.",
        key="layers.update_ratio",
        value=float(known.max()),
        severity=IssueSeverity.info if trained_before(run) else None,
        evidence=evidence([TRAIN], [], [], limits, "tiny_update_ratio") | {"clipped": cut is not None},
    )
