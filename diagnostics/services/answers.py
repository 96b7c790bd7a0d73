"""What was found, as the guide's sections 8 and 9 shape it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostics.engine import IssueCategory, IssueData, IssueSeverity
from diagnostics.engine.architecture import blueprint, read_architecture
from diagnostics.engine.insight import epoch_trends, layer_highlights, severity_breakdown
from diagnostics.models import DiagnosticRun, FoundIssue, State
from diagnostics.services.judging import judge
from projects.models import Project
from projects.services import Refused, project_policy
from sessions.models import Model, TrainSession

TOP_ISSUES, TOP_LAYERS = 5, 5
COUNTS = ("critical_count", "warning_count", "info_count")
TREND_LENGTH = 200
"""Sessions in a project's trend. Older ones are in the list of sessions."""
TREND_COLUMNS = ("project", "name", "status", "started", "health_score", *COUNTS)


def is_answered(run: DiagnosticRun) -> bool:
    """Whether there is an answer to give. An automatic run that is due once more still has its last one."""
    return bool(run.engine_version) and run.state != State.FAILED


def run_body(run: DiagnosticRun) -> dict[str, Any]:
    """Return an answered run as the guide's section 8 shows it."""
    issues = _reported(run)
    return {
        "id": run.pk,
        "session_id": run.session_id,
        "created_at": _moment(run.created),
        "health_score": run.health_score,
        "issue_count": len(issues),
        "arch_type": run.arch_type,
        # PostgreSQL keeps no order of keys.
        "summary_json": {**run.summary, "severity_breakdown": severity_breakdown(issues)},
        "issues": [issue.as_dict() for issue in issues],
        "epoch_trends": [trend.as_dict() for trend in epoch_trends(issues)],
        "session_level_issues": [issue.as_dict() for issue in issues if issue.epoch_index is None],
        "layer_highlights": _highlights(issues, _layer_types(run.session_id)),
        "sustainability": run.sustainability,
    }


def health_body(session: TrainSession) -> dict[str, Any]:
    """Return a session's health by its latest diagnosis; one that has none is judged here, and nothing is stored.

    Raises Refused if the project's settings make no sense.
    """
    run = session.diagnostic_runs.answered().order_by("-created", "-pk").first()
    if run is not None:
        score, issues = run.health_score, _reported(run)
    else:
        score, issues = _judged_on_the_fly(session)
    return {
        "session_id": session.pk,
        "health_score": score,
        "severity_counts": severity_breakdown(issues),
        "top_issues": [issue.as_dict() for issue in issues[:TOP_ISSUES]],
        "top_layers": _highlights(issues, _layer_types(session.pk))[:TOP_LAYERS],
    }


def _judged_on_the_fly(session: TrainSession) -> tuple[int | None, list[IssueData]]:
    try:
        verdict = judge(session, project_policy(session.project))
    except ValueError as error:
        raise Refused(f"The settings of the project cannot be used: {error}.")
    return verdict.health_score, verdict.report.issues


def trend_body(project: Project) -> dict[str, Any]:
    """Return how health developed over a project's newest sessions, oldest first. Two queries."""
    newest = project.sessions.order_by("-started", "-pk").only(*TREND_COLUMNS)[:TREND_LENGTH]
    points, before = [], None
    for session in reversed(newest):
        points.append(_point(session, before))
        before = session.health_score if session.health_score is not None else before
    scores = [point["health_score"] for point in points if point["health_score"] is not None]
    return {
        "project_id": project.pk,
        "project": project.name,
        "session_count": project.sessions.count(),
        "average_health_score": round(sum(scores) / len(scores), 1) if scores else None,
        "improvement": scores[-1] - scores[0] if len(scores) > 1 else None,
        "sessions": points,
    }


def _point(session: TrainSession, before: int | None) -> dict[str, Any]:
    score = session.health_score
    return {
        "session_id": session.pk,
        "name": session.name,
        "status": session.status,
        "started_at": _moment(session.started),
        "health_score": score,
        "severity_counts": {
            "critical": session.critical_count,
            "warning": session.warning_count,
            "info": session.info_count,
        },
        "change": None if score is None or before is None else score - before,
    }


def _reported(run: DiagnosticRun) -> list[IssueData]:
    return [_issue(row) for row in FoundIssue.objects.filter(run=run, suppressed="").order_by("position")]


def _issue(row: FoundIssue) -> IssueData:
    return IssueData(
        severity=IssueSeverity(row.severity),
        category=IssueCategory(row.category),
        title=row.title,
        description=row.description,
        epoch_index=row.epoch_index,
        layer_id=row.layer_id or None,
        metric_key=row.metric_key or None,
        metric_value=row.metric_value,
        suggestion=row.suggestion,
        check_id=row.check_id,
        evidence=row.evidence,
        count=row.count,
        caused_by=row.caused_by or None,
        fix=row.fix or None,
    )


def _highlights(issues: Sequence[IssueData], types: Mapping[str, str]) -> list[dict[str, Any]]:
    return [highlight.as_dict() for highlight in layer_highlights(issues, types)]


def _layer_types(session_id: int) -> Mapping[str, str]:
    architecture = Model.objects.filter(session=session_id).values_list("architecture", flat=True).first()
    return blueprint(read_architecture(architecture)).types


def _moment(moment: Any) -> str:
    # As in the guide, and as Python and JavaScript read it back.
    return str(moment.isoformat()).replace("+00:00", "Z")
