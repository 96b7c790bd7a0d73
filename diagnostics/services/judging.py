"""From what is stored to a verdict, and from a verdict to what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.timezone import now

from diagnostics import queue
from diagnostics.engine import CHECKS, ENGINE_VERSION, IssueData, Policy, Report, Run
from diagnostics.engine.anomaly import AnomalyModel
from diagnostics.models import DiagnosticRun, FoundIssue, State, Trigger
from diagnostics.services import news
from diagnostics.services.anomaly import normal_of
from diagnostics.services.problems.updating import note_findings
from observer_client.record import plain
from projects.models import Project
from projects.services import project_policy
from projects.services.documents import clean, storable
from sessions.models import Liveness, Model, SessionLog, SessionStatus, TrainSession
from sessions.services import packed_epochs

LOUD_LINES, QUIET_LINES = 5_000, 500
"""How many log lines a diagnosis reads: warnings and errors from the first on, of the others the latest."""
QUIET = Q(level__in=("DEBUG", "INFO", "NOTSET", "TRACE"), kind="console")
NO_EPOCHS = "No epoch has arrived yet: there is nothing to score."


def policy_of(run: DiagnosticRun) -> Policy:
    """Return the project's policy of today, with what a request asked for put over it. Raises InvalidSetting."""
    project = run.session.project
    if run.trigger == Trigger.AUTOMATIC:
        return project_policy(project)
    return project_policy(project, over=run.asked)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A report, and the score that may be shown: a session without epochs has none, whatever the formula says."""

    report: Report
    epoch_count: int

    @property
    def health_score(self) -> int | None:
        return self.report.health_score if self.epoch_count else None

    @property
    def summary(self) -> dict[str, Any]:
        return plain(self.report.summary) | ({} if self.epoch_count else {"note": NO_EPOCHS})


def judge(session: TrainSession, policy: Policy) -> Verdict:
    """Judge a session as it is stored now."""
    run = load_run(session, normal_of(session.project))
    return Verdict(policy.diagnose(run, session.tags), len(run))


def load_run(session: TrainSession, anomaly_model: AnomalyModel | None = None) -> Run:
    """Return everything that is known of a session as the engine reads it. Two queries, and two more if it has
    logs; no JSON of epochs."""
    run = Run.from_packed(
        packed_epochs(session),
        logs=_log_lines(session),
        architecture=Model.objects.filter(session=session).values_list("architecture", flat=True).first(),
        hyperparameters=session.hyperparameters,
        environment=session.environment,
        anomaly_model=anomaly_model,
    )
    return replace(run, ending=_ending(session))


def _ending(session: TrainSession) -> dict[str, Any] | None:
    if session.state == Liveness.LOST:
        return {"silent_seconds": (now() - session.last_seen).total_seconds()}
    if session.status == SessionStatus.RUNNING:
        return None
    return {"status": session.status, "reason": session.reason}


def _log_lines(session: TrainSession) -> list[dict[str, Any]] | None:
    """Return the log lines that are judged; None if there are none, and nothing says that somebody listened."""
    if not session.log_count:
        return [] if session.config.get("capture_logs") else None
    lines = SessionLog.objects.filter(session=session).values("seq", "ts", "level", "kind", "logger", "msg")
    loud = lines.exclude(QUIET).order_by("seq")[:LOUD_LINES]
    quiet = lines.filter(QUIET).order_by("-seq")[:QUIET_LINES]
    return sorted([*loud, *quiet], key=lambda line: line["seq"])


def announce(run: DiagnosticRun, verdict: Verdict, policy: Policy) -> None:
    """Tell what is newly grave in a claimed run's answer before all of it is written, which takes longer.

    If this process dies in between, whoever judges again finds the alerts there and makes no others.
    """
    if not _is_verdict(run, policy) or not news.unheard(run.session, verdict.report.issues):
        return
    with transaction.atomic():
        held = TrainSession.objects.filter(
            pk=run.session_id, diagnostic_runs__state=State.RUNNING, diagnostic_runs__claim=run.claim
        ).exclude(diagnosed__gt=_looked_at(run))
        if held.select_for_update(of=("self",), no_key=True).only("pk").first() is not None:
            news.note_findings(run.session, verdict.report.issues)


@transaction.atomic
def store(run: DiagnosticRun, verdict: Verdict, policy: Policy) -> bool:
    """Write a claimed run's answer, all of it or nothing. Returns False when the claim was lost meanwhile.

    Its alerts are stored already (`announce`).
    """
    # Ingest locks a session before its run; whoever locks both must do so in the same order.
    session = TrainSession.objects.select_for_update(no_key=True).filter(pk=run.session_id).only("pk").first()
    if session is None or not queue.finish(run, **_columns(run, verdict)):
        return False
    FoundIssue.objects.filter(run=run).delete()
    FoundIssue.objects.bulk_create(_rows(run, verdict.report), batch_size=500)
    if _is_verdict(run, policy) and _show_verdict(run, verdict):
        note_findings(run.session, verdict.report.issues, _checks_that_ran(run.session.project, verdict.report))
        news.ring_for(run.session)
    return True


def _is_verdict(run: DiagnosticRun, policy: Policy) -> bool:
    """Whether the session stands as this run says: it judges as the project does."""
    return run.trigger == Trigger.AUTOMATIC or policy == project_policy(run.session.project)


def _checks_that_ran(project: Project, report: Report) -> list[str]:
    disabled = set(project.disabled_checks)
    return [
        check.id
        for check in CHECKS.values()
        if check.id not in report.skipped and not disabled & {check.id, str(check.category)}
    ]


def _columns(run: DiagnosticRun, verdict: Verdict) -> dict[str, Any]:
    report = verdict.report
    return {
        "created": _looked_at(run),
        "profile": report.summary["profile"],
        "thresholds": report.summary["policy"]["thresholds"],
        "engine_version": ENGINE_VERSION,
        "epoch_count": verdict.epoch_count,
        "health_score": verdict.health_score,
        "issue_count": len(report.issues),
        "arch_type": clean(report.arch_type, 20),
        "summary": storable(verdict.summary),
        "sustainability": storable(plain(report.sustainability.as_dict())),
    }


def _looked_at(run: DiagnosticRun) -> datetime:
    """Return the moment whose data the answer covers: what arrived later is not in it.

    By the worker's clock alone, a session whose last news the web server's clock dated later would never count
    as diagnosed. Both ``last_seen`` and what it dates were read after the claim.
    """
    return max(run.started or run.created, run.session.last_seen)


def _show_verdict(run: DiagnosticRun, verdict: Verdict) -> bool:
    """Put the verdict where lists of sessions find it, unless one of newer data is there: then return False."""
    counts = verdict.report.summary["severity_breakdown"]
    moment = _looked_at(run)
    shown = (
        TrainSession.objects.filter(pk=run.session_id)
        .exclude(diagnosed__gt=moment)
        .update(
            health_score=verdict.health_score,
            critical_count=counts["critical"],
            warning_count=counts["warning"],
            info_count=counts["info"],
            diagnosed=moment,
        )
    )
    return bool(shown)


def _rows(run: DiagnosticRun, report: Report) -> Iterator[FoundIssue]:
    for position, issue in enumerate([*report.issues, *report.suppressed]):
        yield _row(run, position, issue)


def _row(run: DiagnosticRun, position: int, issue: IssueData) -> FoundIssue:
    return FoundIssue(
        run=run,
        position=position,
        check_id=issue.check_id,
        severity=str(issue.severity),
        category=str(issue.category),
        title=clean(issue.title, 200),
        description=clean(issue.description),
        suggestion=clean(issue.suggestion),
        epoch_index=issue.epoch_index,
        layer_id=clean(issue.layer_id or "", 500),
        metric_key=clean(issue.metric_key or "", 200),
        metric_value=storable(plain(issue.metric_value)),
        count=issue.count,
        caused_by=issue.caused_by or "",
        evidence=storable(plain(issue.evidence)),
        suppressed=clean(issue.suppressed or ""),
        fix=clean(issue.fix or ""),
    )
