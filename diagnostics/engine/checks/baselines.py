"""Checks against what is usual for a task."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.engine.baseline import Baseline
from diagnostics.engine.curves import Floats, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.logged import Column
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "below-baseline",
    title="Below the baseline",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("baseline.metric",),
    section="11.7",
)
def below_baseline(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The run ends well below what is usual for its task.

    ## What it does
    Compares the last value of the baseline's metric with the baseline: less than nine tenths of it is below; of a
    metric that is better when lower, more than eleven tenths. A run is compared if it names its task (hyperparameter
    `task`, or a tag `task:NAME`), or if its project or `mldiag.toml` sets a baseline for all. The robust profile
    counts the best epoch, since that is the checkpoint to keep, and waits until the run has had as many epochs as the
    baseline took; where nobody says how many those are, until the metric has stopped improving. Accuracies in
    percent and as shares are told apart.

    ## Why it matters
    A loss curve can look perfect while the result is poor. Where others reach 99 % with the same data, 85 % is not a
    matter of luck: something in the data, the labels, the model or the optimizer is wrong.

    ## How to fix it
    Compare data, preprocessing and optimizer with those of the baseline first, then train longer or try a larger model.

    ```python
    print(x.mean(), x.std(), y.bincount())  # normalized inputs? all classes?
    ```
    """
    if (pair := _compared(run)) is None:
        return
    baseline, column = pair
    values = column.values[column.finite]
    usual = _in_units_of(values, baseline)
    limit = usual * _factor(baseline, limits)
    last = float(values[-1])
    if _is_better(limit, last, baseline):
        share = evidence([column.name], [], [], limits, "below_baseline_ratio")
        yield Finding(
            description=f"The {baseline.metric} ends at {last:.4g}. For {baseline.name}, {usual:.4g} is usual; "
            f"{'below' if baseline.is_higher_better else 'above'} {limit:.4g} is far from it.",
            key=column.name,
            value=last,
            evidence=share | {"baseline": baseline.name, "usual": usual},
        )


@below_baseline.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in below_baseline.rule(run, limits):
        if pair := _compared(run):
            found.suppressed = _too_early(run, *pair, limits) or _reached(*pair, limits)
        yield found


def _too_early(run: Run, baseline: Baseline, column: Column, limits: DiagnosticThresholds) -> str | None:
    # Epochs are counted from 0 or from 1; a resumed run may begin anywhere.
    trained = int(run.epochs[-1]) + int(run.epochs[0] == 0)
    if baseline.epochs is not None:
        return f"only {trained} of the {baseline.epochs} epochs of the baseline" if trained < baseline.epochs else None
    values = column.values[column.finite]
    if values.size < limits.short_history:
        return f"only {values.size} values so far"
    quarter = max(1, values.size // 4)
    gain = float(median(values[-quarter:]) - median(values[-2 * quarter : -quarter]))
    gain = gain if baseline.is_higher_better else -gain
    least = limits.baseline_progress_pct * abs(_in_units_of(values, baseline))
    return f"the {baseline.metric} still improves, by {gain:.3g} of late" if gain > least else None


def _reached(baseline: Baseline, column: Column, limits: DiagnosticThresholds) -> str | None:
    values = column.values[column.finite]
    best = float(values.max() if baseline.is_higher_better else values.min())
    limit = _in_units_of(values, baseline) * _factor(baseline, limits)
    return None if _is_better(limit, best, baseline) else f"its best epoch reached {best:.4g}"


def _compared(run: Run) -> tuple[Baseline, Column] | None:
    if run.baseline is None:
        return None
    columns = (run.column(name) for name in run.baseline.columns)
    column = next((each for each in columns if each.finite.size), None)
    return None if column is None else (run.baseline, column)


def _factor(baseline: Baseline, limits: DiagnosticThresholds) -> float:
    # A tenth worse is more of a loss, and less of an accuracy; of what is negative it is the other way round.
    is_less_worse = baseline.is_higher_better == (baseline.value > 0)
    return limits.below_baseline_ratio if is_less_worse else 2 - limits.below_baseline_ratio


def _is_better(one: float, other: float, baseline: Baseline) -> bool:
    return one > other if baseline.is_higher_better else one < other


def _in_units_of(values: Floats, baseline: Baseline) -> float:
    """Return the baseline's value as the run writes it: an accuracy may be a share or in percent."""
    if "acc" not in baseline.metric.lower():
        return baseline.value
    highest = float(values.max())
    if baseline.value > 1 >= highest:
        return baseline.value / 100
    return baseline.value * 100 if baseline.value <= 1 < highest else baseline.value


@check(
    "larger-than-baseline",
    title="Larger than the baseline",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=("baseline.parameters", "architecture"),
    section="11.7",
)
def larger_than_baseline(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The model has far more parameters than is usual for its task.

    ## What it does
    Compares the number of parameters with that of the baseline; more than twice as many are reported. Which baseline
    a run is compared with is said under below-baseline.

    ## Why it matters
    Parameters cost memory and energy in every step, and what a small model can learn a large one learns by heart
    sooner.

    ## How to fix it
    Try a smaller model of the same kind, and keep it if the metric stays.

    ```python
    print(sum(p.numel() for p in model.parameters()))
    ```
    """
    baseline, architecture = run.baseline, run.architecture
    if baseline is None or baseline.parameters is None or architecture is None:
        return
    total = architecture.total_parameters
    if total > limits.baseline_parameters_ratio * baseline.parameters:
        yield Finding(
            description=f"The model has {total:,} parameters. For {baseline.name}, {baseline.parameters:,} are usual.",
            value=total,
            evidence=evidence([], [], [], limits, "baseline_parameters_ratio")
            | {"baseline": baseline.name, "usual": baseline.parameters, "ratio": total / baseline.parameters},
        )
