"""Sessions side by side: how they differ, their curves in one chart, what was fixed and what is new."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import F, Prefetch, Q, QuerySet

from diagnostics.engine import Baseline, IssueSeverity, Run
from diagnostics.models import DiagnosticRun, FoundIssue, State, Trigger
from diagnostics.services.plots import Chart, Plot, charts, plot, stretched
from diagnostics.services.references import judged_by
from sessions.models import TrainSession

FEWEST, MOST = 2, 8
"""How many sessions one compares at once: more curves than eight nobody tells apart."""
CODE = ("git_commit", "git_branch", "git_dirty", "script")
OF_A_PROCESS = ("pid",)
"""What differs between any two runs and says nothing."""
ROWS_SHOWN = 300
SPARE_POINTS = 40
GRAVITY = {str(each): rank for rank, each in enumerate(IssueSeverity)}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that sessions were made with, a value for each session; None where it was not told."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] or type(value) is not type(self.values[0]) for value in self.values[1:])


@dataclass(frozen=True, slots=True)
class Facts:
    """The rows of one kind: those that differ, and those that are the same in all sessions."""

    title: str
    different: list[Row]
    same: list[Row]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in one session. ``standing`` compares it with the first session: fixed, new, remains,
    unchecked (it could not run in one of the two), or empty where there is nothing to say."""

    standing: str
    issue: FoundIssue | None
    count: int


@dataclass(frozen=True, slots=True)
class IssueRow:
    check_id: str
    title: str
    findings: list[Finding]


def facts(sessions: Sequence[TrainSession]) -> list[Facts]:
    """Return what the sessions were made with, by kind; a kind of which nothing is known is left out."""
    environments = [dict(_flat(session.environment)) for session in sessions]
    code = [{name: env.pop(name) for name in CODE if name in env} for env in environments]
    for env in environments:
        for name in OF_A_PROCESS:
            env.pop(name, None)
    kinds = (
        ("Code", code),
        ("Hyperparameters", [dict(_flat(session.hyperparameters)) for session in sessions]),
        ("Model", [_model(session) for session in sessions]),
        ("Environment", environments),
    )
    return [_facts(title, parts) for title, parts in kinds if any(parts)]


def _facts(title: str, parts: Sequence[Mapping[str, Any]]) -> Facts:
    names = list(dict.fromkeys(name for part in parts for name in part))[:ROWS_SHOWN]
    rows = [Row(name, [part.get(name) for part in parts]) for name in names]
    return Facts(title, [row for row in rows if row.differs], [row for row in rows if not row.differs])


def _model(session: TrainSession) -> dict[str, Any]:
    model = getattr(session, "model", None)
    return {"class": model.model_class, "parameters": model.total_parameters} if model else {}


def _flat(entries: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in entries.items() if isinstance(entries, dict) else ():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def verdicts(sessions: Sequence[TrainSession]) -> list[DiagnosticRun | None]:
    """Return the run that each session's score is from, with its reported issues. Two queries."""
    reported = FoundIssue.objects.filter(suppressed="").defer("description", "suggestion", "evidence", "fix")
    runs = _answered(sessions).prefetch_related(Prefetch("issues", reported.order_by("position"), to_attr="reported"))
    latest = {run.session_id: run for run in runs}
    return [latest.get(session.pk) for session in sessions]


def verdict(session: TrainSession) -> DiagnosticRun | None:
    """Return the run that a session's score is from, without its issues. One query."""
    return _answered([session]).last()


def _answered(sessions: Sequence[TrainSession]) -> QuerySet[DiagnosticRun]:
    answered = DiagnosticRun.objects.filter(Q(state=State.DONE) | Q(health_score__isnull=False), session__in=sessions)
    return answered.filter(Q(trigger=Trigger.AUTOMATIC) | Q(created=F("session__diagnosed"))).order_by("created", "pk")


def issue_rows(runs: Sequence[DiagnosticRun | None]) -> list[IssueRow]:
    """Return a row for each check that found anything in any of the runs, the gravest first."""
    found = [_by_check(run) for run in runs]
    checks = {check: issue for part in found for check, (issue, _) in part.items()}
    gravest = {check: min(_gravity(part[check][0]) for part in found if check in part) for check in checks}
    return [
        IssueRow(check, checks[check].title, [_finding(check, runs, found, place) for place in range(len(runs))])
        for check in sorted(checks, key=lambda each: (gravest[each], each))
    ]


def _by_check(run: DiagnosticRun | None) -> dict[str, tuple[FoundIssue, int]]:
    grouped: dict[str, list[FoundIssue]] = {}
    for issue in run.reported if run else []:
        grouped.setdefault(issue.check_id, []).append(issue)
    return {check: (min(issues, key=_gravity), sum(each.count for each in issues)) for check, issues in grouped.items()}


def _gravity(issue: FoundIssue) -> int:
    return GRAVITY.get(issue.severity, len(GRAVITY))


def _finding(
    check: str, runs: Sequence[DiagnosticRun | None], found: Sequence[Mapping[str, tuple[FoundIssue, int]]], place: int
) -> Finding:
    issue, count = found[place].get(check, (None, 0))
    if place == 0:
        return Finding("", issue, count)
    was_there = check in found[0]
    if issue is not None:
        standing = "remains" if was_there else "new" if _ran(runs[0], check) else "unchecked"
    else:
        standing = "" if not was_there else "fixed" if _ran(runs[place], check) else "unchecked"
    return Finding(standing, issue, count)


def _ran(run: DiagnosticRun | None, check: str) -> bool:
    """Whether a check has looked: one whose columns were absent has found nothing and proves nothing."""
    if run is None:
        return False
    disabled = (run.summary.get("policy") or {}).get("disable") or []
    return check not in run.summary.get("skipped_checks", {}) and check not in disabled


def common_charts(runs: Iterable[Run]) -> list[Chart]:
    """Return a chart of one line for whatever any of the runs has logged."""
    made: dict[str, Chart] = {}
    for run in runs:
        for chart in charts(run):
            for column, label in chart.lines:
                is_own = len(chart.lines) == 1 or chart.key == "loss"
                title = (label if chart.key == "loss" else chart.title) if is_own else f"{chart.title}, {label}"
                if column in run.names or len(chart.lines) == 1:
                    made.setdefault(column, Chart(column, title.capitalize(), ((column, label),), chart.unit))
    return list(made.values())


def overlay(
    runs: Mapping[str, Run], chart: Chart, axis: str, points: int, low: float = -math.inf, high: float = math.inf
) -> Plot:
    """Return one curve for each of ``runs``, which are named by their labels, in about ``points`` points.

    Between two points of its own a curve is drawn straight, so that it has a value wherever another has one; where a
    number was NaN or infinite it stays interrupted. Sessions that do not tell their steps or times: over the epochs.
    """
    plots = {label: plot(run, chart, axis) for label, run in runs.items()}
    if any(each.axis != axis for each in plots.values()):
        axis = "epoch"
        plots = {label: plot(run, chart, axis) for label, run in runs.items()}
    share = points // max(1, len(plots)) + SPARE_POINTS
    plots = {label: each.between(low, high).thinned(share) for label, each in plots.items() if each.columns}
    x = np.unique(np.concatenate([np.empty(0), *(each.x for each in plots.values())]))
    broken = np.zeros(x.size, bool)
    columns = []
    for label, each in plots.items():
        broken[np.searchsorted(x, each.x[each.broken])] = True
        columns.append((label, stretched(each, x)))
    return Plot(chart, axis, x, x.astype(np.int64), tuple(columns), broken)


@dataclass(frozen=True, slots=True)
class Reached:
    """A baseline, and what each session has reached of its metric at best; None where it was not logged."""

    baseline: Baseline
    values: list[float | None]


def reached(runs: Sequence[Run], verdict: DiagnosticRun | None) -> Reached | None:
    """Return how the sessions stand against the baseline by which the first one was judged, if there was one."""
    baseline = judged_by(verdict)
    return Reached(baseline, [_best(run, baseline) for run in runs]) if baseline else None


def _best(run: Run, baseline: Baseline) -> float | None:
    for name in baseline.columns:
        column = run.column(name)
        if column.finite.size:
            values = column.values[column.finite]
            return float(values.max() if baseline.is_higher_better else values.min())
    return None
