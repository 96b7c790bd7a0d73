"""Lists of sessions that an index of their entries (`SessionEntry`) answers: those of a tag, or sorted by a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge
from itertools import islice
from typing import NamedTuple

from django.db.models import Exists, F, JSONField, OuterRef, QuerySet
from django.db.models.fields.json import KeyTransform

from sessions.models import EntryKind, SessionEntry, TrainSession


class _Place(NamedTuple):
    number: float
    text: str
    session: int


@dataclass(frozen=True)
class EntrySort:
    """The numbers of a project's sessions by a hyperparameter or a metric, cut into pages by a Paginator.

    First come those that have entries, from the index; among them, since a metric of a running session has no
    entry, the few that run; then those without the value. ``sessions`` are all of the project that the list has.
    """

    sessions: QuerySet[TrainSession]
    kind: str
    name: str
    project: int
    is_archive: bool
    is_descending: bool

    def count(self) -> int:
        return self.sessions.count()

    def __getitem__(self, cut: slice) -> list[int]:
        first, last = cut.start or 0, cut.stop
        # Of so many places before the first, the running ones may hold none or all.
        skipped = max(0, first - len(self._running))
        listed = [_Place(*row) for row in self._entries().values_list(*_Place._fields)[skipped:last]]
        before = sum(self._is_before(each, listed[0]) for each in self._running) if listed and skipped else 0
        placed = merge(listed, self._running[before:], reverse=self.is_descending)
        found = [each.session for each in islice(placed, first - skipped - before, last - skipped - before)]
        return found if len(found) == last - first else [*found, *self._without(first, last)]

    def _without(self, first: int, last: int) -> list[int]:
        """Return those of the places that are without the value."""
        valued = self._entries().order_by().count() + len(self._running)
        own = SessionEntry.objects.filter(session=OuterRef("pk"), kind=self.kind, name=self.name)
        rest = self.sessions.exclude(pk__in=[each.session for each in self._running]).filter(~Exists(own))
        ordered = rest.order_by("-pk" if self.is_descending else "pk").values_list("pk", flat=True)
        return list(ordered[max(0, first - valued) : max(0, last - valued)])

    def _entries(self) -> QuerySet[SessionEntry]:
        order = [F(name).desc() if self.is_descending else F(name).asc() for name in _Place._fields]
        return entries(self.project, self.kind, self.name, self.is_archive).order_by(*order)

    @cached_property
    def _running(self) -> Sequence[_Place]:
        """The running sessions that have the metric, in order."""
        if self.kind != EntryKind.METRIC:
            return ()
        value = KeyTransform(self.name, "metrics", output_field=JSONField())
        # Without an end: that is what the index of running sessions knows them by.
        running = self.sessions.order_by().running().filter(finished=None)
        rows = running.filter(metrics__has_key=self.name).annotate(value=value)
        places = [_Place(float(number), "", pk) for pk, number in rows.values_list("pk", "value")]
        return sorted(places, reverse=self.is_descending)

    def _is_before(self, one: _Place, other: _Place) -> bool:
        return one > other if self.is_descending else one < other


def entries(project: int, kind: str, name: str, is_archive: bool) -> QuerySet[SessionEntry]:
    # Django says NOT for an equal False, for which SQLite takes no index.
    return SessionEntry.objects.filter(project=project, kind=kind, name=name, is_archived__in=[is_archive])
