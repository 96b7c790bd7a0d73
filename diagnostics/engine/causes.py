"""Which issues follow from which: one fault shows in many checks, and the report opens with the fault."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostics.engine.issue import IssueData, IssueSeverity

_WASTE = ("early-stop-opportunity", "diminishing-returns", "wasted-carbon")
_IDLE = ("not-learning", "loss-plateau", *_WASTE)
_UNRULY = ("loss-divergence", "high-loss-variance", "gradient-instability", "gradient-spike", "overfitting")
_THROWN = ("learning-rate-too-high", *_UNRULY, *_IDLE)

SYMPTOMS: dict[str, tuple[str, ...]] = {
    "loss-below-minimum": ("first-epoch-blow-up", "loss-explosion", "nan-in-loss", "inf-gradients", *_THROWN),
    "initial-loss": ("learning-rate-too-high", "high-loss-variance", "gradient-instability", "gradient-spike"),
    "first-epoch-blow-up": ("loss-explosion", "nan-in-loss", "inf-gradients", *_THROWN),
    "loss-explosion": ("nan-in-loss", "inf-gradients", *_THROWN),
    "inf-gradients": ("nan-in-loss", *_IDLE),
    "nan-in-loss": ("inf-gradients", *_IDLE),
    "learning-rate-too-high": (*_UNRULY, *_IDLE),
    "loss-divergence": (*_IDLE, "high-loss-variance"),
    "learning-rate-too-low": _IDLE,
    "not-learning": ("loss-plateau", *_WASTE, "overfitting"),
    "overfitting": _WASTE,
    "device-underutilization": ("high-cpu",),
    "early-stop-opportunity": ("diminishing-returns", "wasted-carbon"),
}
"""By the id of a root: the checks that see its consequences. Roots stand in the order in which they are believed."""

_CATCH_ALL = "anomalous-epoch"

_LEAD = 3
# Epochs by which a symptom may be seen before its cause: losses begin to swing before they explode.


def explain(issues: Sequence[IssueData]) -> None:
    """Set ``caused_by`` of each issue that another one of ``issues`` explains.

    A consequence of information is no warning; what is critical stays so.
    """
    by_id: dict[str, IssueData] = {}
    for issue in issues:
        by_id.setdefault(issue.check_id, issue)
    for root, symptoms in SYMPTOMS.items():
        cause = by_id.get(root)
        if cause is None or cause.caused_by is not None and not _is_link(root, symptoms, by_id):
            continue
        for issue in issues:
            if issue.check_id in symptoms and issue.caused_by is None and _may_follow(issue, cause):
                issue.caused_by = cause.caused_by or root
                if issue.severity is IssueSeverity.warning and cause.severity is IssueSeverity.info:
                    issue.severity = IssueSeverity.info
    _explain_anomalies(issues)


def _explain_anomalies(issues: Sequence[IssueData]) -> None:
    """Let an unusual epoch follow from whatever else is wrong: it stands for itself only if nothing else is."""
    causes = [issue for issue in issues if issue.check_id != _CATCH_ALL and issue.severity is not IssueSeverity.info]
    for issue in issues:
        if issue.check_id == _CATCH_ALL and issue.caused_by is None and causes:
            first = min(causes, key=lambda cause: (cause.severity.rank, cause.caused_by is not None))
            issue.caused_by = first.caused_by or first.check_id


def _is_link(root: str, symptoms: Sequence[str], by_id: dict[str, IssueData]) -> bool:
    """Return whether a root that is a symptom itself may hand its cause on: not to where that cause came from."""
    return by_id[root].caused_by not in symptoms


def _may_follow(symptom: IssueData, cause: IssueData) -> bool:
    if "inf-gradients" in (symptom.check_id, cause.check_id) and "nan-in-loss" in (symptom.check_id, cause.check_id):
        return _began(cause) < _began(symptom) or (_began(cause) == _began(symptom) and cause.check_id == "nan-in-loss")
    if symptom.epoch_index is None or cause.epoch_index is None:
        return True
    last: int = max([symptom.epoch_index, *symptom.evidence.get("epochs", ())])
    return last >= cause.epoch_index - _LEAD


def _began(issue: IssueData) -> tuple[float, float]:
    step = issue.evidence.get("step")
    return float(issue.epoch_index or 0), -1.0 if step is None else float(step)


def one_per_cause(issues: Sequence[IssueData]) -> list[IssueData]:
    """Return the issues that count: all that nothing explains, and of what follows from them one per severity that
    the cause itself has not."""
    counted = {(issue.check_id, issue.severity): issue for issue in issues if issue.caused_by is None}
    independent = [issue for issue in issues if issue.caused_by is None]
    extra = {
        (issue.caused_by, issue.severity): issue
        for issue in issues
        if issue.caused_by is not None and (issue.caused_by, issue.severity) not in counted
    }
    return [*independent, *extra.values()]
