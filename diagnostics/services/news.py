"""What an open page is told: alerts, each stored before anybody hears of it, and how a session stands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from diagnostics import channel
from diagnostics.engine import IssueData, IssueSeverity
from diagnostics.models import Alert
from projects.models import Project
from projects.services.documents import clean
from sessions.models import SessionStatus, TrainSession

LOUD = (IssueSeverity.critical, IssueSeverity.warning)
ALERTS_AT_ONCE = 100
OVERLAP = 200
"""How many numbers a project's reader gets again. Sessions are stored in parallel: a number below the last one that
somebody has seen may have become visible after it. Within a session numbers become visible in order."""
LARGEST_NUMBER = 2**63 - 1
SHOWN = ("critical_count", "warning_count", "info_count")
TOLD = ("severity", "check_id", "title", "where", "epoch_index", "at", "session__name")


def unheard(session: TrainSession, issues: Iterable[IssueData]) -> list[list[IssueData]]:
    """Return what is grave and has no alert yet, by check and severity.

    What follows from another finding makes no alert of its own, and neither does information.
    """
    found = list(issues)
    causes = {issue.check_id for issue in found}
    grave = [issue for issue in found if issue.severity in LOUD and issue.caused_by not in causes]
    if not grave:
        return []
    known = set(Alert.objects.filter(session=session.pk).values_list("check_id", "severity"))
    first: dict[tuple[str, str], list[IssueData]] = {}
    for issue in grave:
        if (key := (issue.check_id, str(issue.severity))) not in known:
            first.setdefault(key, []).append(issue)
    return list(first.values())


def note_findings(session: TrainSession, issues: Iterable[IssueData]) -> None:
    """Store an alert for each check that has found something grave in a session for the first time, and ring.

    Only inside a transaction that holds the session's lock.
    """
    if new := unheard(session, issues):
        Alert.objects.bulk_create([_alert(session, several) for several in new])
        _alarm(session)


def note_ending(session: TrainSession) -> None:
    """Store the alert of a session that ended, and ring. Only inside the transaction that ends it."""
    is_bad = session.status != SessionStatus.FINISHED
    Alert.objects.bulk_create(
        [
            Alert(
                session_id=session.pk,
                project_id=session.project_id,
                severity=str(IssueSeverity.critical if is_bad else IssueSeverity.info),
                title=clean(f"{session.get_status_display()}: {session.reason}" if is_bad else "finished", 200),
            )
        ],
        ignore_conflicts=True,
    )
    _alarm(session)


def ring_for(session: TrainSession) -> None:
    """Tell the open pages of a session and its project to look, when the transaction is committed."""
    transaction.on_commit(partial(channel.ring, *_pages(session)), robust=True)


def _alarm(session: TrainSession) -> None:
    """As `ring_for`, of an alert: these pages look at once."""
    transaction.on_commit(partial(channel.alarm, *_pages(session)), robust=True)


def _pages(session: TrainSession) -> tuple[str, str]:
    return channel.session_group(session.pk), channel.project_group(session.project_id)


def session_news(session: TrainSession, after: int | None) -> dict[str, Any]:
    """Return how a session stands, its alerts with a number above ``after``, oldest first, and the latest number.

    Without ``after`` there are no alerts: who just opened the page sees what it shows.
    """
    state = {
        "status": session.status,
        "epoch_count": session.epoch_count,
        "health_score": session.health_score,
        **{name: getattr(session, name) for name in SHOWN},
    }
    return _news(Alert.objects.filter(session=session.pk), after, after) | {"state": state}


def project_news(project: Project, after: int | None) -> dict[str, Any]:
    """Return how many of a project's sessions are running, and the alerts of all as `session_news` does.

    Some come more than once (`OVERLAP`); their number tells.
    """
    state = {"running": TrainSession.objects.running().filter(project=project.pk).count()}
    since = None if after is None else max(0, after - OVERLAP)
    return _news(Alert.objects.filter(project=project.pk), after, since) | {"state": state}


def number_in(text: str) -> int | None:
    """Return the number of an alert, None if ``text`` is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    return None if number is None else min(number, LARGEST_NUMBER)


def latest_alert(**place: int) -> int:
    """Return the number of the latest alert of a session or a project, 0 if there is none."""
    return Alert.objects.filter(**place).order_by("-pk").values_list("pk", flat=True).first() or 0


def _news(alerts: QuerySet[Alert], after: int | None, since: int | None) -> dict[str, Any]:
    if since is None:
        return {"seq": alerts.order_by("-pk").values_list("pk", flat=True).first() or 0, "alerts": []}
    new = alerts.filter(pk__gt=since).select_related("session").only(*TOLD).order_by("-pk")[:ALERTS_AT_ONCE]
    told = [_body(alert) for alert in reversed(new)]
    return {"seq": max([after or 0, *(alert["seq"] for alert in told)]), "alerts": told}


def _body(alert: Alert) -> dict[str, Any]:
    return {
        "seq": alert.pk,
        "session": {"id": alert.session_id, "name": alert.session.name, "url": alert.session.get_absolute_url()},
        "severity": alert.severity,
        "check_id": alert.check_id,
        "title": alert.title,
        "where": alert.where,
        "epoch": alert.epoch_index,
        "at": alert.at.isoformat(),
    }


def _alert(session: TrainSession, issues: list[IssueData]) -> Alert:
    first = issues[0]
    layers = [issue.layer_id for issue in issues if issue.layer_id]
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    return Alert(
        session_id=session.pk,
        project_id=session.project_id,
        severity=str(first.severity),
        check_id=first.check_id,
        title=clean(first.title, 200),
        where=f"{clean(layers[0], 200)}{more}" if layers else "",
        epoch_index=first.epoch_index,
    )
