"""Checks on what goes into a model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.classes import binomial_tail
from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.checks.start import first_steps
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

MEAN = "data.input_mean"
STRANGE = "data.input_non_finite_share"
PADDING = "data.padding_share"
OVERLAP = "data.overlap_share"
VAL = "loss.val.val_loss"
_CLOSE_EPOCHS = 3
_LEAST_SURPRISE = 0.05


@check(
    "input-scale",
    title="Inputs not normalized",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=(f"{MEAN} | {STRANGE}",),
    section="",
)
def input_scale(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The model is fed with numbers far from unit scale, or with NaN.

    ## What it does
    Looks at the largest floating-point input of the first batches of each epoch. A root mean square above 10 is not
    normalized, and a NaN or infinity is a finding in any case. The robust profile is content with large inputs where
    the first layer is a normalization (of its input, not of its weights). They are information where the first loss is
    that of guessing: then they do no harm at once. NaN passes where every loss is finite.

    ## Why it matters
    Initializations keep signals at the scale that they come in with. Inputs of several hundred make logits of several
    hundred: the loss starts far above guessing, gradients explode, and rates that work for others do not work here.

    ## How to fix it
    Standardize the inputs by mean and standard deviation of the training data, the same numbers for validation.

    ```python
    mean, std = x_train.mean(0), x_train.std(0).clamp_min(1e-6)
    x_train, x_val = (x_train - mean) / std, (x_val - mean) / std
    ```
    """
    mean, deviation = run.column(MEAN), run.column("data.input_std").values
    size = np.hypot(mean.values, deviation)
    for row in np.flatnonzero(size > limits.input_scale):
        epoch, value = int(run.epochs[row]), float(size[row])
        yield Finding(
            description=f"In epoch {epoch} the inputs had a mean of {mean.values[row]:.4g} and a standard deviation of "
            f"{deviation[row]:.4g}.",
            epoch=epoch,
            key=MEAN,
            value=float(mean.values[row]),
            evidence=evidence([MEAN, "data.input_std"], [epoch], [value], limits, "input_scale"),
        )
    share = run.column(STRANGE).values
    for row in np.flatnonzero(share > 0):
        epoch = int(run.epochs[row])
        yield Finding(
            title="NaN or infinite inputs",
            description=f"In epoch {epoch} {share[row]:.2%} of the numbers in the first batches were NaN or infinite.",
            epoch=epoch,
            key=STRANGE,
            value=float(share[row]),
            evidence={"series": [STRANGE], "epochs": [epoch], "values": [float(share[row])]},
            suggestion="Find where NaN enters the data: missing values, a division by zero, the logarithm of zero.",
        )


@input_scale.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    strange = run.column("loss.non_finite").values
    loss = run.column(TRAIN)
    finite = bool(loss) and bool(np.isfinite(loss.values[loss.seen]).all()) and not np.nansum(strange)
    for found in input_scale.rule(run, limits):
        if found.key == MEAN:
            found.suppressed = _normalized_inside(run)
            found.severity = IssueSeverity.info if _starts_at_guessing(run, limits) else None
        elif finite:
            found.suppressed = "every loss is finite: the model takes care of what is missing"
        yield found


def _normalized_inside(run: Run) -> str | None:
    # What normalizes weights (torch.nn.utils.parametrizations) sees no input.
    own = (layer for layer in run.blueprint.layers if "parametrizations." not in layer.id)
    first = next((layer for layer in own if layer.category != "other"), None)
    if first is not None and first.category == "normalization":
        return f"the first layer, {first.id}, normalizes its input"
    return None


def _starts_at_guessing(run: Run, limits: DiagnosticThresholds) -> bool:
    chance, steps = task_of(run).chance, first_steps(run)
    return bool(chance and steps.size and steps[0] < limits.input_start_ratio * chance)


@check(
    "padding-waste",
    title="Batches full of padding",
    category=IssueCategory.throughput,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(PADDING,),
    section="",
)
def padding_waste(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Most tokens of a batch are padding.

    ## What it does
    Takes the share of padding in the batches that were looked at, by their attention mask or by the number of the
    padding token. Above a half, averaged over the run, is a finding.

    ## Why it matters
    Padding costs as much compute and memory as text and teaches nothing.

    ## How to fix it
    Batch sequences of similar length, or pack several short ones into one row.

    ```python
    arguments = transformers.TrainingArguments("out", group_by_length=True)
    ```
    """
    column = run.column(PADDING)
    share = float(np.mean(column.values[column.finite])) if column.finite.size else 0.0
    if share > limits.padding_pct:
        yield Finding(
            description=f"{share:.0%} of the tokens in the batches looked at are padding.",
            key=PADDING,
            value=share,
            evidence=evidence([PADDING], [], [share], limits, "padding_pct"),
        )


@check(
    "data-leakage",
    title="Validation data in the training data",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=(f"{OVERLAP} | {VAL}",),
    section="11.2",
)
def data_leakage(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Validation samples are training samples, too.

    ## What it does
    Compares hashes of the samples of both data sets, where `Observer.watch_data` was told of them: more than 1 % of
    the validation samples among the training samples is a leak. The robust profile is silent where the training data
    repeats itself as often, as tables of few values and short texts do: samples drawn from so many different ones as
    the repetitions tell meet again in another draw, and no more of them than that, by chance (p > 0.05). If that is
    more than half of the validation samples, it is information: they tell little of what is new. Without hashes, a
    validation loss within 1 % of the training loss in the last three epochs of a run that learned is a hint, as
    information; the robust profile holds it back, since one healthy run in five looks like that.

    ## Why it matters
    The validation figures are too good, and so are all decisions made by them: which model is best, when to stop.

    ## How to fix it
    Split before anything is copied, augmented or cut into windows, and by groups where samples belong together.

    ```python
    split = sklearn.model_selection.GroupShuffleSplit(test_size=0.2, random_state=0)
    train_rows, val_rows = next(split.split(x, y, groups=subject_of_sample))
    ```
    """
    column = run.column(OVERLAP)
    if not column.finite.size:
        yield from _too_close(run, limits)
        return
    row = int(column.finite[-1])
    share = float(column.values[row])
    if share > limits.leakage_pct:
        count = run.column("data.val_samples").values[row]
        yield Finding(
            description=f"{share:.1%} of the {count:.0f} different validation samples are training samples, too.",
            key=OVERLAP,
            value=share,
            evidence=evidence([OVERLAP], [], [share], limits, "leakage_pct"),
        )


@data_leakage.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    repeated = run.column("data.duplicate_share")
    natural = float(repeated.values[repeated.finite[-1]]) if repeated.finite.size else 0.0
    for found in data_leakage.rule(run, limits):
        if found.key == VAL:
            found.suppressed = "healthy runs come as close; tell Observer.watch_data of both data sets to know"
        elif limits.leakage_certain_pct < found.value <= limits.leakage_natural_ratio * _met_again(natural):
            found.severity = IssueSeverity.info
            found.description += (
                f" So are {natural:.1%} of the training samples each other's: this data repeats itself."
            )
        elif found.value <= min(limits.leakage_certain_pct, limits.leakage_duplicates_ratio * natural):
            found.suppressed = f"{natural:.1%} of the training samples repeat another one: this data repeats itself"
        elif _by_chance(run, found.value, natural) > _LEAST_SURPRISE:
            found.suppressed = "so few samples may be repeated by chance in data that repeats itself"
        yield found


def _by_chance(run: Run, shared: float, repeated: float) -> float:
    """Return how likely so many validation samples are among the training samples of data that repeats itself as the
    training data does: a sample that is repeated seldom is twice as likely to be met from outside as from inside."""
    train, val = (run.column(f"data.{name}").values for name in ("train_samples", "val_samples"))
    if repeated <= 0 or not np.isfinite(train).any() or not np.isfinite(val).any():
        return 0.0
    outside, inside = round(shared * float(np.nanmax(val))), round(repeated * float(np.nanmax(train)))
    share = 2 * np.nanmax(val) / (2 * np.nanmax(val) + np.nanmax(train))
    return binomial_tail(inside, outside + inside, float(1 - share))


def _met_again(repeated: float) -> float:
    """Return the share of fresh samples that are among the drawn ones, if ``repeated`` of these repeat another.

    For n draws from k equally likely samples, m = n / k each, it is 1 - exp(-m), and the share of repetitions
    1 - (1 - exp(-m)) / m: the birthday problem, solved for m by bisection.
    """
    if repeated <= 0:
        return 0.0
    low, high = 0.0, 1e3
    for _ in range(50):
        each = (low + high) / 2
        low, high = (each, high) if 1 + math.expm1(-each) / each < repeated else (low, each)
    return -math.expm1(-low)


def _too_close(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    train, val = run.column(TRAIN), run.column(VAL)
    rows = np.flatnonzero(np.isfinite(train.values) & np.isfinite(val.values))
    if rows.size <= _CLOSE_EPOCHS:
        return
    last = rows[-_CLOSE_EPOCHS:]
    apart = np.abs(val.values[last] - train.values[last])
    learned = train.values[last[-1]] < 0.5 * train.values[rows[0]]
    if learned and bool((apart < limits.leakage_closeness_pct * np.abs(train.values[last])).all()):
        epoch, value = int(run.epochs[last[-1]]), float(val.values[last[-1]])
        yield Finding(
            title="Validation suspiciously close to training",
            description=f"In the last {_CLOSE_EPOCHS} epochs the validation loss was within "
            f"{limits.leakage_closeness_pct:.0%} of the training loss.",
            epoch=epoch,
            key=VAL,
            value=value,
            severity=IssueSeverity.info,
            evidence=evidence([VAL, TRAIN], [epoch], [value], limits, "leakage_closeness_pct"),
        )
