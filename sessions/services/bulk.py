"""What people do with several sessions at once."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils.timezone import now

from projects.models import Project
from projects.services.documents import clean
from projects.services.refusals import Refused
from sessions.models import SessionEntry, TrainSession
from sessions.services.entries import READ, renew_entries
from sessions.services.lifecycle import MAX_TAGS, NAME_LENGTH
from sessions.signals import sessions_deleted

AT_ONCE = 500
"""How many sessions one request may change."""


@transaction.atomic
def tag_sessions(project: Project, pks: Iterable[int], name: str, *, remove: bool = False) -> int:
    """Give sessions of a project a tag, or take it; return how many changed. Raises Refused."""
    name = clean(name).strip()
    if not 0 < len(name) <= NAME_LENGTH:
        raise Refused(f"A tag has 1 to {NAME_LENGTH} characters.", "$.tag")
    changed = []
    for session in project.sessions.select_for_update(of=("self",)).filter(pk__in=pks).only(*READ).order_by("pk"):
        if remove and name in session.tags:
            session.tags = [each for each in session.tags if each != name]
        elif not remove and name not in session.tags:
            if len(session.tags) >= MAX_TAGS:
                raise Refused(f"A session has at most {MAX_TAGS} tags.", "$.tag")
            session.tags = [*session.tags, name]
        else:
            continue
        changed.append(session)
    TrainSession.objects.bulk_update(changed, ["tags"])
    renew_entries(changed)
    return len(changed)


@transaction.atomic
def archive_sessions(project: Project, pks: Iterable[int]) -> int:
    """Put sessions away: lists and trends leave them out, everything else stays. Returns how many."""
    kept = list(project.sessions.kept().filter(pk__in=pks).values_list("pk", flat=True))
    changed = project.sessions.filter(pk__in=kept).update(archived=now())
    SessionEntry.objects.filter(session__in=kept).update(is_archived=True)
    return changed


@transaction.atomic
def restore_sessions(project: Project, pks: Iterable[int]) -> int:
    """Take sessions back from the archive; return how many."""
    archived = list(project.sessions.exclude(archived=None).filter(pk__in=pks).values_list("pk", flat=True))
    changed = project.sessions.filter(pk__in=archived).update(archived=None)
    SessionEntry.objects.filter(session__in=archived).update(is_archived=False)
    return changed


@transaction.atomic
def delete_sessions(project: Project, pks: Iterable[int]) -> int:
    """Delete sessions with all that was logged and found; return how many."""
    chosen = project.sessions.filter(pk__in=pks)
    # Locked first, as by whoever stores an epoch or a diagnosis: what belongs to them is deleted before them, and
    # neither may come to be in between, nor be locked by somebody who waits for the session.
    held = list(chosen.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    _, rows = project.sessions.filter(pk__in=held).delete()
    sessions_deleted.send(sender=TrainSession, project=project)
    return rows.get(TrainSession._meta.label, 0)
