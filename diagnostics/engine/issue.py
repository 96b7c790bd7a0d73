"""What the engine says: issues, their severity and category, and the health score made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from observer_client.record import plain


class IssueSeverity(StrEnum):
    """How bad an issue is. ``weight`` is what one such issue costs of the health score (guide 3.2)."""

    critical = "critical"
    warning = "warning"
    info = "info"

    @property
    def weight(self) -> int:
        return _WEIGHTS[self]

    @property
    def rank(self) -> int:
        """0 for the gravest; the order in which issues are reported."""
        return _RANKS[self]


_WEIGHTS = {IssueSeverity.critical: 20, IssueSeverity.warning: 7, IssueSeverity.info: 2}
_RANKS = {severity: rank for rank, severity in enumerate(IssueSeverity)}


class IssueCategory(StrEnum):
    """What part of a training run an issue is about (guide 3.3)."""

    loss = "loss"
    throughput = "throughput"
    memory = "memory"
    profiler = "profiler"
    logs = "logs"
    system = "system"
    architecture = "architecture"
    sustainability = "sustainability"


@dataclass(slots=True)
class IssueData:
    """One problem found in a run.

    ``description`` is this case with its numbers, ``suggestion`` the advice. ``metric_key`` is the dotted name of a
    column ("loss.train_mean"). ``evidence`` holds what a page needs to draw the case: ``series`` (dotted names),
    ``epochs`` (where it occurred), ``values`` (the metric there), ``threshold`` and ``limit`` (name and value of the
    limit that was crossed), and figures of the check's own. ``count`` says how many occurrences the issue stands
    for, ``caused_by`` the id of the check that explains it, ``suppressed`` why the robust profile held it back. ``fix``
    is Python made of this run's own facts, None where nothing can be computed.
    """

    severity: IssueSeverity
    category: IssueCategory
    title: str
    description: str = ""
    epoch_index: int | None = None
    layer_id: str | None = None
    metric_key: str | None = None
    metric_value: Any = None
    suggestion: str = ""
    check_id: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    count: int = 1
    caused_by: str | None = None
    suppressed: str | None = None
    fix: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return every field as JSON types, the empty ones included; non-finite floats are spelled."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)} | {
            "severity": str(self.severity),
            "category": str(self.category),
        }


def compute_health_score(issues: Iterable[IssueData]) -> int:
    """Return 100 less the weight of every issue, never below 0 (guide 3.4)."""
    return max(0, 100 - sum(_WEIGHTS.get(issue.severity, 0) for issue in issues))
