"""From an issue on a session's page to its problem, and from a problem to the issue that shows it best."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from diagnostics.models import DiagnosticRun, FoundIssue
from diagnostics.problem_models import Problem
from diagnostics.services.problems.grouping import fingerprint_of

ISSUES_READ = 2_000


def problems_of(issues: Iterable[FoundIssue]) -> dict[int, Problem]:
    """Return the problem of each issue by the issue's id, for issues of one run. One query.

    Suppressed issues have none, and neither has what only a requested diagnosis with other thresholds found. A
    merged problem is that which it became part of.
    """
    reported = [issue for issue in issues if not issue.suppressed]
    if not reported:
        return {}
    prints = {issue.pk: fingerprint_of(issue.check_id, issue.layer_id) for issue in reported}
    rows = Problem.objects.filter(
        project__sessions__diagnostic_runs=reported[0].run_id, fingerprint__in=set(prints.values())
    ).select_related("merged_into")
    found = {row.fingerprint: row.merged_into or row for row in rows}
    return {pk: found[each] for pk, each in prints.items() if each in found}


def latest_issue(problem: Problem) -> FoundIssue | None:
    """Return the gravest issue of the last session that shows a problem, from the diagnosis that its page shows."""
    if problem.last_session is None:
        return None
    same = Q(pk=problem.pk) | Q(merged_into=problem.pk)
    prints = dict(Problem.objects.filter(same).values_list("fingerprint", "check_id"))
    runs = DiagnosticRun.objects.filter(session=problem.last_session_id).answered()
    verdict = runs.filter(created=problem.last_session.diagnosed).first() or runs.first()
    if verdict is None:
        return None
    reported = verdict.issues.filter(suppressed="", check_id__in=set(prints.values())).order_by("position")
    heard = (issue for issue in reported[:ISSUES_READ] if issue.layer_id not in problem.muted_layers)
    return next((issue for issue in heard if fingerprint_of(issue.check_id, issue.layer_id) in prints), None)
