"""The table of a project's sessions: which columns it has, what it is narrowed to, how it is ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.core.paginator import Page, Paginator
from django.db.models import Exists, F, FloatField, JSONField, OuterRef, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast
from django.http import QueryDict

from projects.models import Project
from projects.services.documents import clean
from sessions.models import EntryKind, SessionEntry, SessionStatus, TrainSession
from sessions.ordering import EntrySort, entries

HEAVY = ("hyperparameters", "environment", "config", "reason", "metrics")
"""Columns that no list shows as a whole, and that may be large."""
SESSIONS_ON_A_PAGE = 50
LOOKED_AT = 20
"""Of how many of the latest sessions the hyperparameters and metrics are offered as columns."""
OFFERED = 60
CHOSEN = 24
LONGEST_KEY = 100


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. ``fields`` are what it sorts by; ``nulls`` says that they may be empty.

    One that shows an entry of a JSON column names it by ``source`` (the model's field) and ``entry``.
    """

    key: str
    label: str
    fields: tuple[str, ...] = ()
    nulls: bool = False
    source: str = ""
    entry: str = ""


FIXED = (
    Column("name", "Session", ("name",)),
    Column("status", "Status", ("status",)),
    Column("score", "Health", ("health_score",), nulls=True),
    Column("issues", "Issues", ("critical_count", "warning_count", "info_count")),
    Column("epochs", "Epochs", ("epoch_count",)),
    Column("train", "Train loss", ("train_loss",), nulls=True),
    Column("val", "Val loss", ("val_loss",), nulls=True),
    Column("started", "Started", ("started",)),
    Column("duration", "Duration", ("duration_seconds",)),
    Column("co2", "CO₂", ("co2_kg",), nulls=True),
    Column("energy", "Energy", ("energy_kwh",), nulls=True),
    Column("seen", "Last seen", ("last_seen",)),
)
USUAL = ("name", "status", "score", "issues", "epochs", "train", "val", "started", "duration", "co2")
ENTRIES = {"hp": "hyperparameters", "metric": "metrics"}
"""The prefix of a column's key, by which it shows an entry of that field."""
KINDS = {"hyperparameters": EntryKind.HYPERPARAMETER, "metrics": EntryKind.METRIC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table as an address asks for it. What makes no sense is taken for not said."""

    columns: tuple[Column, ...]
    sort: str = "-started"
    status: str = ""
    tag: str = ""
    text: str = ""
    is_archive: bool = False

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        keys = [key for part in query.getlist("columns") for key in part.split(",")]
        # A list without names is of no use: there is nothing to follow.
        named = list(dict.fromkeys(["name", *keys])) if keys else list(USUAL)
        columns = [column for key in named if (column := column_of(key))][:CHOSEN]
        sort, status = query.get("sort", ""), query.get("status", "")
        return cls(
            columns=tuple(columns),
            sort=sort if column_of(sort.removeprefix("-")) else "-started",
            status=status if status in SessionStatus.values else "",
            tag=clean(query.get("tag", "")).strip(),
            text=clean(query.get("q", "")).strip(),
            is_archive=query.get("archived") == "1",
        )

    @property
    def is_narrow(self) -> bool:
        return bool(self.status or self.tag or self.text or self.is_archive)

    @property
    def keys(self) -> list[str]:
        return [column.key for column in self.columns]

    def page(self, project: Project, number: str | None) -> Page[TrainSession]:
        """Return one page of a project's sessions, narrowed and ordered, with what the columns show. Three queries.

        Sorting by a metric takes one more, for the running sessions, and two on a page where some have no such value.

        First the numbers alone are ordered and cut: their documents would be carried along through both.
        """
        sessions = project.sessions.all()
        page = Paginator(self._order(project), SESSIONS_ON_A_PAGE).get_page(number)
        found = self._shown(sessions).in_bulk(list(page.object_list))
        # One may have been deleted in between.
        page.object_list = [found[pk] for pk in page.object_list if pk in found]
        return page

    def _order(self, project: Project) -> QuerySet[TrainSession, int] | QuerySet[SessionEntry, int] | EntrySort:
        """Return the numbers of a project's sessions in order, from an index of entries where that says all."""
        sessions = project.sessions.all()
        column, is_latest = column_of(self.sort.removeprefix("-")), self.sort == "-started"
        if self.status or self.text:
            return self.numbers(sessions)
        if self.tag and is_latest:
            tagged = entries(project.pk, EntryKind.TAG, self.tag, self.is_archive)
            return tagged.order_by("-number", "-text", "-session").values_list("session", flat=True)
        if column is None or not column.source or self.tag:
            return self.numbers(sessions)
        return EntrySort(
            self.narrowed(sessions),
            kind=KINDS[column.source],
            name=column.entry,
            project=project.pk,
            is_archive=self.is_archive,
            is_descending=self.sort.startswith("-"),
        )

    def numbers(self, sessions: QuerySet[TrainSession]) -> QuerySet[TrainSession, int]:
        """Return the numbers of the sessions, narrowed and ordered."""
        return self._ordered(self.narrowed(sessions)).values_list("pk", flat=True)

    def narrowed(self, sessions: QuerySet[TrainSession]) -> QuerySet[TrainSession]:
        sessions = sessions.exclude(archived=None) if self.is_archive else sessions.kept()
        if self.status:
            sessions = sessions.filter(status=self.status)
        if self.tag:
            tagged = SessionEntry.objects.filter(kind=EntryKind.TAG, name=self.tag, session=OuterRef("pk"))
            sessions = sessions.filter(Exists(tagged))
        return sessions.filter(name__icontains=self.text) if self.text else sessions

    def _shown(self, sessions: QuerySet[TrainSession]) -> QuerySet[TrainSession]:
        entries = {f"entry_{place}": _entry(column) for place, column in enumerate(self.columns) if column.source}
        return sessions.order_by().defer(*HEAVY).annotate(**entries)

    def _ordered(self, sessions: QuerySet[TrainSession]) -> QuerySet[TrainSession]:
        """What has no value comes last in both directions."""
        column = column_of(self.sort.removeprefix("-"))
        if column is None or self.sort == "-started":
            return sessions.order_by("-started", "-pk")
        # A column without NULLs must not name their place: the index would be of no use.
        place = {"nulls_last": True} if column.nulls else {}
        values = [_sorted_entry(column)] if column.source else [F(name) for name in column.fields]
        if self.sort.startswith("-"):
            return sessions.order_by(*(value.desc(**place) for value in values), "-pk")
        # The ties, too, the other way round: then one index serves both directions.
        return sessions.order_by(*(value.asc(**place) for value in values), "pk")

    def moves(self) -> list[tuple[Column, str, str]]:
        """Pair each column with the keys, for an address, in which it has moved to the front or to the back by one.

        The name stays in front. Empty where there is no way to go.
        """
        keys, last = self.keys, len(self.columns) - 1
        swapped = [",".join([*keys[:at], keys[at + 1], keys[at], *keys[at + 2 :]]) for at in range(last)]
        return [
            (column, swapped[at - 1] if at > 1 else "", swapped[at] if 0 < at < last else "")
            for at, column in enumerate(self.columns)
        ]


def column_of(key: str) -> Column | None:
    """Return the column of a key: one of `FIXED`, ``hp.NAME`` or ``metric.NAME``."""
    prefix, _, entry = clean(key).partition(".")
    if prefix in ENTRIES and 0 < len(entry) <= LONGEST_KEY and not _is_path(entry):
        return Column(f"{prefix}.{entry}", entry, nulls=True, source=ENTRIES[prefix], entry=entry)
    return next((column for column in FIXED if column.key == key), None)


def offered(sessions: QuerySet[TrainSession], listing: Listing) -> tuple[list[Column], list[str]]:
    """Return the columns that can be added, and the tags that are used, by what the latest sessions have. One query."""
    latest = sessions.order_by("-started", "-pk").values_list("hyperparameters", "metrics", "tags")[:LOOKED_AT]
    keys: dict[str, None] = dict.fromkeys(column.key for column in FIXED)
    tags: dict[str, None] = {}
    for hyperparameters, metrics, own in latest:
        keys |= dict.fromkeys(f"hp.{name}" for name, value in _entries(hyperparameters) if not isinstance(value, dict))
        keys |= dict.fromkeys(f"metric.{name}" for name, _ in _entries(metrics))
        tags |= dict.fromkeys(str(tag) for tag in own)
    # A comma would be read as two columns.
    names = [key for key in keys if "," not in key and key not in listing.keys]
    return [column for key in names[:OFFERED] if (column := column_of(key))], sorted(tags)[:OFFERED]


def cells(session: TrainSession, columns: Sequence[Column]) -> list[tuple[Column, Any]]:
    """Pair each column with the entry it shows; None for those that the template knows how to show."""
    return [(column, getattr(session, f"entry_{place}", None)) for place, column in enumerate(columns)]


def _entries(document: Any) -> list[tuple[str, Any]]:
    return list(document.items()) if isinstance(document, Mapping) else []


def _entry(column: Column) -> KeyTransform:
    return KeyTransform(column.entry, column.source, output_field=JSONField())


def _sorted_entry(column: Column) -> KeyTransform | Cast:
    # Metrics are numbers, which a database compares sooner than documents.
    return (
        Cast(KeyTextTransform(column.entry, column.source), FloatField())
        if column.source == "metrics"
        else _entry(column)
    )


def _is_path(name: str) -> bool:
    """Whether a database would not take ``name`` for the name of an entry: SQLite quotes it, Django counts by it."""
    try:
        int(name)
    except ValueError:
        return '"' in name or "\\" in name
    return True
