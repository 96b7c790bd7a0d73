"""Stories of sessions for the tests of triage: made as the worker makes them, without training anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction

from diagnostics.engine import CHECKS, IssueCategory, IssueData, IssueSeverity
from diagnostics.models import DiagnosticRun, FoundIssue, State, Trigger
from diagnostics.problem_models import Problem
from diagnostics.services.problems import note_findings
from sessions.models import SessionStatus, TrainSession

CHECK = "dead-neurons"
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
SEVERITIES = {"W": IssueSeverity.warning, "C": IssueSeverity.critical}


def issue(severity=IssueSeverity.warning, layer="fc1", check_id=CHECK, **fields):
    return IssueData(
        severity, IssueCategory.sustainability, "Dead neurons", check_id=check_id, layer_id=layer, **fields
    )


def make_session(project, day, status=SessionStatus.FINISHED):
    """A session that started on a day, counted from the first."""
    started = FIRST_DAY + timedelta(days=day)
    return TrainSession.objects.create(
        project=project, name=f"run {day}", status=status, started=started, last_seen=started
    )


def judge(session, *issues, checks=tuple(CHECKS)):
    """Store what a diagnosis of a session found."""
    with transaction.atomic():
        note_findings(session, issues, checks)
    return session


def tell(project, story, first=0, layer="fc1"):
    """Judge a session a day: ``W`` and ``C`` find the problem, ``.`` does not, ``-`` could not look."""
    made = []
    for day, letter in enumerate(story, first):
        found = [issue(SEVERITIES[letter], layer)] if letter in SEVERITIES else []
        checks = [] if letter == "-" else tuple(CHECKS)
        made.append(judge(make_session(project, day), *found, checks=checks))
    return made


def the_problem():
    return Problem.objects.get()


def store_verdict(session, *issues):
    """Judge a session and keep its findings, as a diagnosis does."""
    moment = session.started + timedelta(hours=1)
    TrainSession.objects.filter(pk=session.pk).update(diagnosed=moment)
    run = DiagnosticRun.objects.create(
        session=session, trigger=Trigger.AUTOMATIC, state=State.DONE, created=moment, engine_version="1"
    )
    FoundIssue.objects.bulk_create(
        FoundIssue(
            run=run,
            position=position,
            check_id=each.check_id,
            severity=each.severity,
            category=each.category,
            title=each.title,
            layer_id=each.layer_id or "",
        )
        for position, each in enumerate(issues)
    )
    return judge(session, *issues)
