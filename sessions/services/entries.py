"""Tags, hyperparameters and metrics of sessions, kept once more in rows that an index finds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import transaction

from sessions.models import EntryKind, SessionEntry, SessionStatus, TrainSession

LONGEST_NAME, LONGEST_TEXT = 100, 100
MOST_HYPERPARAMETERS = 500
READ = ("project", "status", "started", "archived", "tags", "hyperparameters", "metrics")


def add_entries(sessions: Iterable[TrainSession]) -> None:
    """Write the entries of sessions that have none. One statement."""
    SessionEntry.objects.bulk_create(
        _entry(session, *value) for session in sessions for value in [*_described(session), *_measured(session)]
    )


def add_metrics(session: TrainSession) -> None:
    """Write the metrics of a session that has just ended. One statement."""
    SessionEntry.objects.bulk_create(_entry(session, *value) for value in _measured(session))


@transaction.atomic
def renew_entries(sessions: Iterable[TrainSession]) -> None:
    """Write the entries of sessions anew. Two statements; the caller holds the sessions' rows, if others may write."""
    known = list(sessions)
    SessionEntry.objects.filter(session__in=[session.pk for session in known]).delete()
    add_entries(known)


def _entry(session: TrainSession, kind: str, name: str, number: float, text: str) -> SessionEntry:
    return SessionEntry(
        session_id=session.pk,
        project_id=session.project_id,
        kind=kind,
        name=name,
        is_archived=session.archived is not None,
        number=number,
        text=text,
    )


def _described(session: TrainSession) -> Iterator[tuple[str, str, float, str]]:
    # So that an index has the sessions of a tag in the order in which lists show them.
    started = session.started.timestamp()
    for tag in dict.fromkeys(map(str, session.tags)):
        yield EntryKind.TAG, tag, started, ""
    for name, value in _short(islice(session.hyperparameters.items(), MOST_HYPERPARAMETERS)):
        if value is not None and not isinstance(value, dict):
            yield EntryKind.HYPERPARAMETER, name, *_place(value)


def _measured(session: TrainSession) -> Iterator[tuple[str, str, float, str]]:
    if session.status != SessionStatus.RUNNING:
        for name, value in _short(session.metrics.items()):
            yield EntryKind.METRIC, name, *_place(value)


def _short(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in items if len(name) <= LONGEST_NAME)


def _place(value: Any) -> tuple[float, str]:
    """Return what a value sorts by: numbers first."""
    if isinstance(value, (int, float)) and abs(value) <= sys.float_info.max:
        return float(value), ""
    return sys.float_info.max, (value if isinstance(value, str) else json.dumps(value))[:LONGEST_TEXT]
