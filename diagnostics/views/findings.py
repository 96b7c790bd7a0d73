"""What a run found, in the order in which its page shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from diagnostics.engine import CHECKS, IssueSeverity, Run
from diagnostics.models import DiagnosticRun, FoundIssue
from diagnostics.problem_models import Problem
from diagnostics.services import Action, Drawing, draw, problems_of, suggested_actions

ISSUES_SHOWN = 200
"""Of each severity: beyond that nobody reads on, and the report as JSON has them all."""
ISSUES_DRAWN = 40
HELD_BACK_DRAWN = 20
URGENT_ACTIONS = 3
TITLES_SHOWN = 8
"""Issues that the mark of an epoch names: in a large network thousands of layers may have one."""
SEVERITIES = tuple(str(each) for each in IssueSeverity)


@dataclass(frozen=True, slots=True)
class ShownIssue:
    """An issue with what its card needs. ``cause`` is the issue it follows from, if that one is known, ``meaning`` why
    such a thing matters, ``problem`` what it is part of over the project's sessions."""

    issue: FoundIssue
    cause: FoundIssue | None
    meaning: str
    drawing: Drawing | None
    problem: Problem | None

    @property
    def is_open(self) -> bool:
        """Whether its card is unfolded: what is critical, and warnings that follow from nothing else."""
        severity = self.issue.severity
        return severity == IssueSeverity.critical or (severity == IssueSeverity.warning and self.cause is None)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A finding that the evidence did not carry, with that evidence."""

    issue: FoundIssue
    drawing: Drawing | None


@dataclass(frozen=True, slots=True)
class Group:
    """The issues of one severity, as many as a page shows."""

    severity: str
    issues: list[ShownIssue]
    left_out: int


@dataclass(frozen=True, slots=True)
class Marker:
    """The issues of one epoch on the timeline; ``issue`` is the gravest."""

    epoch: int
    issue: FoundIssue
    titles: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "severity": self.issue.severity,
            "id": self.issue.pk,
            "label": self.label,
        }

    @property
    def label(self) -> str:
        more = len(self.titles) - TITLES_SHOWN
        shown = [*self.titles[:TITLES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        return f"Epoch {self.epoch}: {', '.join(shown)}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found. ``skipped`` pairs a check with the columns it missed."""

    issues: list[FoundIssue]
    groups: list[Group]
    counts: dict[str, int]
    suppressed: list[HeldBack]
    skipped: list[tuple[str, Any]]
    severity: str
    urgent: list[Action]
    """What to do first: the causes that are no mere information, of these the first few."""
    later: list[Action]
    markers: list[Marker]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def layers(self) -> frozenset[str]:
        """Layers that have an issue."""
        return frozenset(issue.layer_id for issue in self.issues if issue.layer_id)


def findings(run: DiagnosticRun | None, severity: str, logged: Run | None) -> Findings:
    """Sort a run's issues by severity; ``severity`` leaves those of one. ``logged`` is what evidence is drawn of."""
    issues: Sequence[FoundIssue] = list(run.issues.order_by("position")) if run else []
    reported = [issue for issue in issues if not issue.suppressed]
    by_severity = {name: [issue for issue in reported if issue.severity == name] for name in SEVERITIES}
    wanted = (severity,) if severity in SEVERITIES else SEVERITIES
    shown = {name: by_severity[name][:ISSUES_SHOWN] for name in wanted if by_severity[name]}
    drawn = [issue for name in shown for issue in shown[name]][:ISSUES_DRAWN] if logged is not None else []
    drawings = {issue.pk: draw(logged, issue) for issue in drawn} if logged is not None else {}
    problems = problems_of(issue for part in shown.values() for issue in part)
    causes = _causes(reported)
    actions = suggested_actions(reported)
    urgent = [action for action in actions if action.issue.severity != IssueSeverity.info][:URGENT_ACTIONS]
    return Findings(
        issues=reported,
        groups=[
            Group(
                name,
                [
                    ShownIssue(
                        issue,
                        cause=causes.get(issue.caused_by),
                        meaning=meaning(issue.check_id),
                        drawing=drawings.get(issue.pk),
                        problem=problems.get(issue.pk),
                    )
                    for issue in part
                ],
                len(by_severity[name]) - len(part),
            )
            for name, part in shown.items()
        ],
        counts={name: len(found) for name, found in by_severity.items()},
        suppressed=_held_back([issue for issue in issues if issue.suppressed], logged),
        skipped=sorted(run.summary.get("skipped_checks", {}).items()) if run else [],
        severity=severity if severity in SEVERITIES else "",
        urgent=urgent,
        later=[action for action in actions if action not in urgent],
        markers=_markers(reported),
    )


def _held_back(issues: Sequence[FoundIssue], logged: Run | None) -> list[HeldBack]:
    return [
        HeldBack(issue, draw(logged, issue) if logged is not None and place < HELD_BACK_DRAWN else None)
        for place, issue in enumerate(issues[:ISSUES_SHOWN])
    ]


def _causes(issues: Iterable[FoundIssue]) -> dict[str, FoundIssue]:
    causes: dict[str, FoundIssue] = {}
    for issue in issues:
        causes.setdefault(issue.check_id, issue)
    return causes


def meaning(check_id: str) -> str:
    """Return why what a check found matters, from its documentation; empty if an older engine had another check."""
    check = CHECKS.get(check_id)
    _, _, text = check.doc.partition("## Why it matters\n") if check else ("", "", "")
    return " ".join(text.partition("\n\n")[0].split())


def _markers(issues: Iterable[FoundIssue]) -> list[Marker]:
    markers: dict[int, Marker] = {}
    for issue in issues:
        if issue.epoch_index is not None:
            # Issues come gravest first.
            marker = markers.setdefault(issue.epoch_index, Marker(issue.epoch_index, issue, []))
            marker.titles.append(issue.title + (f" ({issue.layer_id})" if issue.layer_id else ""))
    return [markers[epoch] for epoch in sorted(markers)]
