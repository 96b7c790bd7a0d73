"""The register of checks: a function over columns becomes a check by the decorator `check`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from diagnostics.engine.bounded import MOST_ISSUES, bounded
from diagnostics.engine.issue import IssueCategory, IssueData, IssueSeverity
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FIX = "How to fix it"


class Profile(StrEnum):
    """How findings are judged: by the guide's rules alone, or with an evidence gate on top."""

    guide = "guide"
    robust = "robust"


class Scope(StrEnum):
    """What an issue of a check is tied to."""

    epoch = "epoch"
    layer = "layer"
    session = "session"


@dataclass(slots=True, kw_only=True)
class Finding:
    """What a check yields: one occurrence. Severity, title and suggestion are the check's unless given here."""

    description: str
    epoch: int | None = None
    layer: str | None = None
    key: str | None = None
    value: Any = None
    evidence: dict[str, Any] = field(default_factory=dict)
    severity: IssueSeverity | None = None
    title: str | None = None
    suggestion: str | None = None
    count: int = 1
    suppressed: str | None = None


Rule = Callable[[Run, DiagnosticThresholds], Iterator[Finding]]


@dataclass(slots=True, eq=False)
class Check:
    """One check. ``needs`` names columns it cannot do without; "a | b" is satisfied by either of them.

    ``rule`` is the guide's rule exactly. ``gated``, if there is one, is the robust profile's: it yields what the rule
    finds, with the reason in ``suppressed`` where the evidence is too thin.
    """

    id: str
    title: str
    category: IssueCategory
    severity: IssueSeverity
    scope: Scope
    needs: tuple[str, ...]
    section: str
    doc: str
    suggestion: str
    rule: Rule
    each: bool
    gated: Rule | None = None

    def robust(self, rule: Rule) -> Rule:
        """Register ``rule`` for the robust profile."""
        self.gated = rule
        return rule

    def missing(self, run: Run) -> list[str]:
        """Return the needed columns of which ``run`` has nothing."""
        has = run.has
        return [need for need in self.needs if not has(need)]

    def __call__(
        self, run: Run, thresholds: DiagnosticThresholds, profile: Profile = Profile.robust
    ) -> list[IssueData]:
        """Return what the check finds in ``run``, suppressed findings included; nothing if columns are missing."""
        if self.missing(run):
            return []
        # A run that diverged has numbers at the end of what a float holds; what overflows is infinite, and compared so.
        with np.errstate(over="ignore", invalid="ignore"):
            return self.found(run, thresholds, profile)

    def found(self, run: Run, thresholds: DiagnosticThresholds, profile: Profile) -> list[IssueData]:
        """Return the same for a run that has all columns, within the caller's `numpy.errstate`."""
        gated = self.gated if profile is Profile.robust else None
        issues = [self._issue(finding) for finding in (gated or self.rule)(run, thresholds)]
        if len(issues) < 2 or (self.each and profile is Profile.guide):
            return issues
        issues = _grouped(issues)
        return bounded(issues) if len(issues) > MOST_ISSUES else issues

    def _issue(self, found: Finding) -> IssueData:
        return IssueData(
            severity=found.severity or self.severity,
            category=self.category,
            title=found.title or self.title,
            description=found.description,
            epoch_index=found.epoch,
            layer_id=found.layer,
            metric_key=found.key,
            metric_value=found.value,
            suggestion=found.suggestion or self.suggestion,
            check_id=self.id,
            evidence=found.evidence,
            count=found.count,
            suppressed=found.suppressed,
        )


CHECKS: dict[str, Check] = {}
"""All checks by id, in the order in which they run."""


def evidence(
    series: list[str], epochs: list[int], values: list[float], limits: DiagnosticThresholds, threshold: str
) -> dict[str, Any]:
    """Return what every finding gives as evidence: columns to draw, where and how high the metric was, the limit."""
    return {
        "series": series,
        "epochs": epochs,
        "values": values,
        "threshold": threshold,
        "limit": getattr(limits, threshold),
    }


def check(
    id: str,
    *,
    title: str,
    category: IssueCategory,
    severity: IssueSeverity,
    scope: Scope,
    needs: tuple[str, ...],
    section: str,
    each: bool = False,
) -> Callable[[Rule], Check]:
    """Register a function as a check.

    ``id`` is permanent and the function's name in kebab case. The docstring is the check's documentation page; the
    first paragraph under "How to fix it" is the suggestion. ``section`` is the guide's,
    empty for a check beyond it. With ``each`` the guide
    profile reports every occurrence as an issue of its own; otherwise occurrences on the same layer and column are
    one issue with a count.
    """

    def register(rule: Rule) -> Check:
        if not _ID.fullmatch(id) or id != getattr(rule, "__name__", "").replace("_", "-"):
            raise ValueError(f"the id {id!r} must be the name of its function in kebab case")
        if id in CHECKS:
            raise ValueError(f"there is a check {id!r} already")
        doc = inspect.getdoc(rule) or ""
        CHECKS[id] = Check(id, title, category, severity, scope, needs, section, doc, _advice(doc), rule, each)
        return CHECKS[id]

    return register


def _advice(doc: str) -> str:
    _, _, section = doc.partition(f"## {_FIX}\n")
    return " ".join(section.strip().partition("\n\n")[0].split()).rstrip(":") or ""


def _grouped(issues: list[IssueData]) -> list[IssueData]:
    """Make one issue of all occurrences that differ by the epoch only; it is as grave as the gravest of them."""
    groups: dict[tuple[Any, ...], list[IssueData]] = {}
    for issue in issues:
        key = (issue.title, issue.layer_id, issue.metric_key, issue.suppressed is None)
        groups.setdefault(key, []).append(issue)
    return [_group(group) if len(group) > 1 else group[0] for group in groups.values()]


def _group(group: list[IssueData]) -> IssueData:
    first, rest = group[0], group[1:]
    first.severity = min((issue.severity for issue in group), key=lambda severity: severity.rank)
    first.count = sum(issue.count for issue in group)
    for name in ("epochs", "values"):
        if name in first.evidence:
            first.evidence[name] = [entry for issue in group for entry in issue.evidence.get(name, [])]
    if rest[0].epoch_index is not None:
        first.description += f" The same in {_epochs([issue.epoch_index for issue in rest])}."
    return first


def _epochs(epochs: list[int | None]) -> str:
    named = [str(epoch) for epoch in dict.fromkeys(epochs)]
    if len(named) > 6:
        return f"{len(named)} more epochs, up to {named[-1]}"
    return f"epoch {named[0]}" if len(named) == 1 else f"epochs {', '.join(named[:-1])} and {named[-1]}"
