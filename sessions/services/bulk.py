"""What people do with several sessions at once."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils.timezone import now

from projects.models import Project
from projects.services.documents import clean
from projects.services.refusals import Refused
from sessions.models import TrainSession
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
    for session in project.sessions.select_for_update(of=("self",)).filter(pk__in=pks).only("tags").order_by("pk"):
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
    return len(changed)


def archive_sessions(project: Project, pks: Iterable[int]) -> int:
    """Put sessions away: lists and trends leave them out, everything else stays. Returns how many."""
    return project.sessions.kept().filter(pk__in=pks).update(archived=now())


def restore_sessions(project: Project, pks: Iterable[int]) -> int:
    """Take sessions back from the archive; return how many."""
    return project.sessions.exclude(archived=None).filter(pk__in=pks).update(archived=None)


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
