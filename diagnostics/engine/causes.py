"""Which issues follow from which: one fault shows in many checks, and the report opens with the fault."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostics.engine.issue import IssueCategory, IssueData, IssueSeverity

_WASTE = ("early-stop-opportunity", "diminishing-returns", "wasted-carbon")
_IDLE = ("not-learning", "loss-plateau", *_WASTE)
_SPREAD = ("high-loss-variance", "gradient-instability")
_SPIKES = ("loss-spike", "gradient-spike", "exploding-gradients")
_UNRULY = ("oscillation", "loss-divergence", "overfitting", *_SPREAD, *_SPIKES)
_LOST = ("loss-explosion", "nan-in-loss", "inf-gradients")
_MUTE = ("vanishing-gradients", "frozen-output", "activation-collapse", "no-gradient")
_DYING = ("dead-neurons", "dead-relu", "saturated-activation", "activation-outliers", "attention-entropy", *_MUTE)
_UNSTABLE = ("learning-rate-too-high", "first-epoch-blow-up", *_LOST, *_UNRULY, *_IDLE)
_CRIPPLED = (*_IDLE, *_DYING)
_UNTRAINED = ("learning-rate-too-low", "update-ratio", "class-imbalance", *_IDLE)
_CUT_OFF = ("redundant-layers", *_UNTRAINED)

_AFTER_A_STEP = (*_SPREAD, *_LOST, "exploding-gradients", "oscillation", "loss-divergence", *_IDLE, *_DYING)

_STILL = ("learning-rate-too-low", "update-ratio", "vanishing-gradients", *_IDLE)

SYMPTOMS: dict[str, tuple[str, ...]] = {
    # Exact facts about the code: whatever else is seen may follow from them.
    "labels-all-masked": (*_LOST, *_IDLE, "no-gradient", "vanishing-gradients", "parameters-not-updated"),
    "ranks-diverged": ("loss-divergence", *_SPREAD),
    "optimizer-misses-parameters": ("parameters-not-updated", *_MUTE, *_UNTRAINED),
    "amp-overflow": ("parameters-not-updated", *_LOST, *_SPIKES, *_UNTRAINED),
    "parameters-not-updated": (*_MUTE, *_UNTRAINED),
    "missing-zero-grad": (*_UNSTABLE, *_DYING, "update-ratio", "clipping-fraction"),
    "softmax-before-cross-entropy": ("loss-below-minimum", "vanishing-gradients", *_UNTRAINED),
    "loss-below-minimum": (*_UNSTABLE, *_DYING, "update-ratio", "clipping-fraction"),
    "data-leakage": ("overfitting",),
    "class-imbalance": ("overfitting", *_WASTE),
    "input-scale": ("initial-loss", "update-ratio", *_UNSTABLE, *_DYING),
    # Settings.
    "learning-rate-schedule": ("update-ratio", "learning-rate-too-low", "class-imbalance", *_UNSTABLE, *_DYING),
    "weight-collapse": ("update-ratio", "class-imbalance", "loss-divergence", "overfitting", *_IDLE, *_DYING),
    "initial-loss": ("learning-rate-too-high", "saturated-activation", "update-ratio", *_SPREAD, *_SPIKES),
    "learning-rate-too-high": ("first-epoch-blow-up", "update-ratio", "class-imbalance", *_LOST, *_UNRULY, *_CRIPPLED),
    "first-epoch-blow-up": ("update-ratio", *_LOST, *_UNRULY, *_IDLE, *_DYING),
    # Layers that pass nothing on.
    "dead-neurons": (*_MUTE, "dead-relu", "loss-divergence", *_CUT_OFF),
    "dead-relu": (*_MUTE, *_CUT_OFF),
    "saturated-activation": (*_MUTE, *_CUT_OFF),
    "exploding-gradients": ("oscillation", "loss-divergence", "overfitting", *_SPREAD, "loss-spike", "gradient-spike"),
    "vanishing-gradients": ("frozen-output", "activation-collapse", "no-gradient", *_CUT_OFF),
    "activation-collapse": ("frozen-output", *_IDLE),
    "frozen-output": _IDLE,
    "no-gradient": ("update-ratio", "class-imbalance", *_IDLE),
    "unintended-freeze": ("update-ratio", *_IDLE),
    # Events.
    "loss-spike": ("gradient-spike", *_AFTER_A_STEP),
    "gradient-spike": ("loss-spike", *_AFTER_A_STEP),
    "loss-explosion": ("nan-in-loss", "inf-gradients", *_UNRULY, *_IDLE, *_DYING),
    "inf-gradients": ("nan-in-loss", "amp-overflow", *_UNTRAINED),
    "nan-in-loss": ("inf-gradients", *_UNTRAINED),
    "oscillation": (*_SPREAD, *_WASTE),
    "loss-divergence": ("high-loss-variance", "overfitting", *_IDLE),
    # Pace.
    "clipping-fraction": ("learning-rate-too-low", "update-ratio", *_IDLE),
    "learning-rate-too-low": ("update-ratio", *_IDLE),
    "update-ratio": _IDLE,
    "not-learning": ("loss-plateau", *_WASTE, "overfitting", "class-imbalance"),
    "overfitting": ("batch-size-too-large", *_WASTE),
    "high-loss-variance": ("batch-size-too-small",),
    "early-stop-opportunity": ("diminishing-returns", "wasted-carbon"),
    # The machine.
    "rank-straggler": ("input-bound", "throughput-degradation", "slow-epoch", "slow-step", "fail-slow"),
    "input-bound": ("throughput-degradation", "gpu-underutilized", "slow-epoch", "slow-step", "fail-slow"),
    "throughput-degradation": ("fail-slow", "slow-epoch", "slow-step"),
    "memory-growth": ("gpu-memory-pressure", "error-logs", "crash", "run-went-silent"),
    "gpu-memory-pressure": ("error-logs", "crash"),
    "crash": ("error-logs",),
    "device-underutilization": ("high-cpu",),
}
"""By the id of a root: the checks that see its consequences.

Roots stand in the order in which they are believed: the first that is found explains. What the code says comes before
settings, settings before layers, layers before events of the loss, and these before its pace. A new check gets a row of
its own if it explains others, and a word in a group above if others explain it.
"""

_CATCH_ALL = "anomalous-epoch"

_LEAD = 3
# Epochs by which a symptom may be seen before its cause: losses begin to swing before they explode.

_AT_ONCE = frozenset({"loss-spike", "gradient-spike"})
# Roots that happen at one step: nothing that began before them follows from them.

_HABITS = frozenset({"class-imbalance", "clipping-fraction", "data-leakage", "input-scale", "loss-spike"})
# Roots that are common practice, or over at once, as long as they are no more than information: they explain nothing.

_COST = frozenset(
    {IssueCategory.throughput, IssueCategory.profiler, IssueCategory.system, IssueCategory.sustainability}
)


def explain(issues: Sequence[IssueData]) -> None:
    """Set ``caused_by`` of each issue that another one of ``issues`` explains.

    A consequence of information is no warning, and information explains nothing critical.
    """
    by_id: dict[str, IssueData] = {}
    for issue in sorted(issues, key=lambda issue: issue.severity.rank):
        by_id.setdefault(issue.check_id, issue)
    for root, symptoms in SYMPTOMS.items():
        cause = by_id.get(root)
        if cause is None:
            continue
        for issue in issues:
            told = issue.check_id in symptoms and issue.caused_by is None
            if told and issue.check_id not in _line(cause, by_id) and _may_follow(issue, cause):
                issue.caused_by = root
                if issue.severity is IssueSeverity.warning and cause.severity is IssueSeverity.info:
                    issue.severity = IssueSeverity.info
    ends = [_line(issue, by_id)[-1] for issue in issues]
    for issue, end in zip(issues, ends, strict=True):
        issue.caused_by = None if issue.caused_by is None else end
    _explain_anomalies(issues)


def _explain_anomalies(issues: Sequence[IssueData]) -> None:
    """Let an unusual epoch follow from whatever else is wrong: it stands for itself only if nothing else is."""
    causes = [
        issue
        for issue in issues
        if issue.check_id != _CATCH_ALL
        and issue.severity is not IssueSeverity.info
        # What a model is made of is the same in all epochs.
        and issue.category is not IssueCategory.architecture
    ]
    for issue in issues:
        if issue.check_id == _CATCH_ALL and issue.caused_by is None and causes:
            first = min(causes, key=lambda cause: (cause.severity.rank, cause.caused_by is not None))
            issue.caused_by = first.caused_by or first.check_id


def hold_back_anomalies(issues: Sequence[IssueData]) -> None:
    """Set ``suppressed`` of the unusual epochs that another issue explains: one fault is not counted twice."""
    for issue in issues:
        if issue.check_id == _CATCH_ALL and issue.caused_by is not None:
            issue.suppressed = f"{issue.caused_by} says what is wrong"
            issue.caused_by = None


def _line(issue: IssueData, by_id: dict[str, IssueData]) -> list[str]:
    """Return the ids from ``issue`` to its root. Nothing follows from what itself follows from it, so there is one."""
    line = [issue.check_id]
    while issue.caused_by is not None:
        line.append(issue.caused_by)
        issue = by_id[issue.caused_by]
    return line


def _may_follow(symptom: IssueData, cause: IssueData) -> bool:
    if cause.severity is IssueSeverity.info and (
        symptom.severity is IssueSeverity.critical or cause.check_id in _HABITS
    ):
        return False
    if "inf-gradients" in (symptom.check_id, cause.check_id) and "nan-in-loss" in (symptom.check_id, cause.check_id):
        return _began(cause) < _began(symptom) or (_began(cause) == _began(symptom) and cause.check_id == "nan-in-loss")
    if symptom.check_id in _AT_ONCE and cause.check_id in _AT_ONCE:
        return _began(cause) <= _began(symptom)
    if symptom.check_id in _WASTE or symptom.epoch_index is None or cause.epoch_index is None:
        # Waste names the epoch to stop at, which lies before what made the rest worthless.
        return True
    if cause.check_id in _AT_ONCE:
        return symptom.epoch_index >= cause.epoch_index
    last: int = max([symptom.epoch_index, *symptom.evidence.get("epochs", ())])
    return last >= cause.epoch_index - _LEAD


def _began(issue: IssueData) -> tuple[float, float]:
    step = issue.evidence.get("step")
    return float(issue.epoch_index or 0), -1.0 if step is None else float(step)


def cause_first(issues: Sequence[IssueData]) -> list[IssueData]:
    """Return ``issues`` in the order of a report: gravest first, causes before what follows from them, then by epoch.

    A cause is as grave as its gravest consequence, so that a warning that explains a critical issue stands before it.
    Of mere information what is about the cost of the run comes last.
    """
    gravity = {issue.check_id: issue.severity.rank for issue in issues}
    for issue in issues:
        gravity[issue.check_id] = min(gravity[issue.check_id], issue.severity.rank)
    for issue in issues:
        if issue.caused_by is not None:
            gravity[issue.caused_by] = min(gravity[issue.caused_by], issue.severity.rank)

    def place(issue: IssueData) -> tuple[float, ...]:
        rank = issue.severity.rank if issue.caused_by is not None else gravity[issue.check_id]
        advice = issue.severity is IssueSeverity.info and issue.category in _COST
        # What belongs to no epoch, such as a crash, comes before what does.
        epoch = float("-inf") if issue.epoch_index is None else issue.epoch_index
        return rank, advice, issue.caused_by is not None, issue.severity.rank, epoch

    return sorted(issues, key=place)
