"""The life of a session: opened, described, alive, ended."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.utils.timezone import now

from observer_client.record import Ending, Opening, plain
from projects.models import ApiKey
from projects.services import NotFound, Refused, find_project
from projects.services.documents import clean, storable
from sessions.models import SessionStatus, TrainSession
from sessions.services.entries import add_entries, add_metrics, renew_entries
from sessions.services.items import LARGEST_NUMBER
from sessions.services.moments import past_moment
from sessions.signals import session_finished, session_opened, session_returned

NAME_LENGTH = 200
REASON_LENGTH = 8_000
MAX_TAGS = 100
MOST_STEPS = 2**63 - 1
MAX_MERGED_BYTES = 4 * 2**20
"""What a mapping may grow to by patches, of which each alone is within the limits of a request."""
LONGEST_SILENCE_SECONDS = 10 * 365 * 86_400.0


@transaction.atomic
def open_session(
    opening: Opening, *, user: AbstractBaseUser | AnonymousUser | None, key: ApiKey | None
) -> tuple[TrainSession, bool]:
    """Return the session of that key and whether it is new. Opening it again changes nothing, unless the opening is
    that of a later attempt: then the run goes on, whatever had ended it.

    Raises NotFound for a project, or somebody else's session, that the caller may not see; Refused for a key
    that is no UUID.
    """
    run = _uuid(opening.key)
    here = TrainSession.objects.select_related("project")
    session, created = here.filter(key=run).first(), False
    if session is None:
        project = find_project(project_id=opening.project_id, name=opening.project, user=user, key=key)
        session, created = here.get_or_create(key=run, defaults={"project": project, **_described(opening, run)})
    if created:
        add_entries([session])
        session_opened.send(sender=TrainSession, session=session)
    elif not here.visible_to(user or AnonymousUser(), key).filter(pk=session.pk).exists():
        raise NotFound(f"There is no session {run} here.")
    else:
        _resume(session, opening)
    return session, created


def _resume(session: TrainSession, opening: Opening) -> None:
    if not session.attempt < opening.attempt <= LARGEST_NUMBER:
        return
    moment = now()
    fields: dict[str, Any] = {"status": SessionStatus.RUNNING, "reason": "", "finished": None, "expect_next_in": None}
    fields |= {"attempt": opening.attempt, "last_seen": moment, "progressed": moment, "silence_told": None}
    earlier = TrainSession.objects.filter(pk=session.pk, attempt__lt=opening.attempt)
    if earlier.update(**fields):
        session.refresh_from_db()
        renew_entries([session])
        session_returned.send(sender=TrainSession, session=session)


def _described(opening: Opening, run: UUID) -> dict[str, Any]:
    return {
        "name": clean((opening.run_name or "").strip(), NAME_LENGTH) or f"run {run.hex[:8]}",
        "started": past_moment(opening.started_at),
        "hyperparameters": storable(plain(opening.hyperparameters)),
        "environment": storable(plain(opening.environment)),
        "config": storable(plain(opening.config)),
        "tags": _tags(opening.tags),
        "attempt": max(0, min(opening.attempt, LARGEST_NUMBER)),
    }


@transaction.atomic
def update_session(
    session: TrainSession,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    tags: list[str] | None = None,
) -> TrainSession:
    """Add to what is known of a session: entries of mappings one by one, name and tags as a whole.

    Raises Refused for a mapping that would grow too large, and for too many tags; then nothing is changed.
    """
    held = TrainSession.objects.select_for_update(of=("self",)).get(pk=session.pk)
    merged = {"hyperparameters": hyperparameters, "environment": environment, "config": config}
    for name, entries in merged.items():
        if entries is not None:
            setattr(held, name, _merged(name, getattr(held, name), storable(plain(entries))))
    if run_name is not None and (name := clean(run_name.strip(), NAME_LENGTH)):
        held.name = name
    if tags is not None:
        held.tags = _tags(tags)
    held.save(update_fields=[*merged, "name", "tags"])
    if hyperparameters is not None or tags is not None:
        renew_entries([held])
    return held


def _merged(name: str, known: dict[str, Any], entries: dict[str, Any]) -> dict[str, Any]:
    merged = {**known, **entries}
    if len(json.dumps(merged)) > MAX_MERGED_BYTES:
        raise Refused(f"The {name} of a session take at most {MAX_MERGED_BYTES:,} bytes.", f"$.{name}")
    return merged


def heartbeat(session: TrainSession, *, step: int | None = None, expect_next_in: float | None = None) -> None:
    """Note that a running session is alive and, if told, in how many seconds it will be heard of again.

    ``step`` counts the steps so far: one that does not move tells a run that hangs from one that trains.
    """
    moment = now()
    fields: dict[str, Any] = {"last_seen": moment}
    if expect_next_in is not None:
        if not math.isfinite(expect_next_in) or expect_next_in < 0:
            raise Refused("expect_next_in is a number of seconds.", "$.expect_next_in")
        fields["expect_next_in"] = min(expect_next_in, LONGEST_SILENCE_SECONDS)
    if step is not None and 0 <= step <= MOST_STEPS and step != session.step:
        fields |= {"step": step, "progressed": moment}
    alive = TrainSession.objects.running().filter(pk=session.pk).update(**fields)
    if alive and session.silence_told is not None:
        _welcome(session)


@transaction.atomic
def _welcome(session: TrainSession) -> None:
    """Take back what was said of the silence of a session that is heard of again."""
    told = TrainSession.objects.filter(pk=session.pk, silence_told__isnull=False).update(silence_told=None)
    if told:
        session_returned.send(sender=TrainSession, session=session)


def note_silence(session: TrainSession) -> bool:
    """Note that somebody was told of the present silence. False when it was over, or somebody else was faster."""
    held = TrainSession.objects.silent().filter(pk=session.pk, last_seen=session.last_seen)
    return bool(held.update(silence_told=now()))


@transaction.atomic
def finish(session: TrainSession, ending: Ending) -> TrainSession:
    """Close a session. The first ending stays; telling it again is harmless. Raises Refused."""
    ends = [SessionStatus.FINISHED, SessionStatus.CRASHED, SessionStatus.KILLED]
    if ending.status not in ends:
        raise Refused(f"status is one of {', '.join(ends)}.", "$.status")
    finished = past_moment(ending.ended_at)
    closed = TrainSession.objects.filter(pk=session.pk, status=SessionStatus.RUNNING).update(
        status=ending.status,
        reason=clean(ending.reason or "", REASON_LENGTH),
        finished=finished,
        duration_seconds=max(0.0, (finished - session.started).total_seconds()),
        last_seen=now(),
        expect_next_in=None,
    )
    session.refresh_from_db()
    if closed:
        add_metrics(session)
        session_finished.send(sender=TrainSession, session=session)
    return session


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(f"A session's key is a UUID, not {clean(text, 50)!r}.", "$.key")


def _tags(tags: list[str]) -> list[str]:
    if len(tags) > MAX_TAGS:
        raise Refused(f"At most {MAX_TAGS} tags.", "$.tags")
    return [clean(tag, NAME_LENGTH) for tag in tags]
