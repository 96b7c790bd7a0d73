"""The lines of the API's list of sessions: from columns to JSON, without a model or a serializer in between.

A list is asked for more often than anything else, and its rows are many: saying field by field what `SessionOut` says
takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpResponse
from rest_framework.request import Request

from projects.serializers import Pages
from projects.services import Refused
from sessions.models import SessionStatus, TrainSession
from sessions.serializers import SessionOut

FIELDS = tuple(SessionOut.Meta.fields)
DOCUMENTS = ("tags", "metrics")
"""JSON columns: their text goes into the answer as it is."""
OF_STATE = ("status", "last_seen", "expect_next_in", "step", "progressed")
COLUMNS: dict[str, tuple[str, ...]] = {"project": ("project_id", "project__name"), "url": ("id",), "state": OF_STATE}
"""What a field is made of, if not of the column of its name."""


class SessionPages(Pages):
    """Pages of lines."""

    def answer(self, sessions: QuerySet[TrainSession], request: Request) -> HttpResponse:
        """Return the page and the fields that the request asks for. Two queries. Raises Refused."""
        self._fields = _asked(request)
        rows = self.paginate_queryset(sessions.order_by("-started", "-pk").values("pk"), request) or []
        body = {
            "count": self.page.paginator.count,
            "next": self.get_next_link(),
            "previous": self.get_previous_link(),
            "results": list(_lines(rows, self._fields, request.build_absolute_uri("/sessions/"))),
        }
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")

    def django_paginator_class(self, numbers: QuerySet[Any], size: int) -> Paginator:
        return _Paginator(numbers, size, self._fields)


class _Paginator(Paginator):
    """Cuts numbers of sessions into pages, and gives the columns of those on a page.

    A database that is asked for numbers alone finds them in an index; asked for whole rows, SQLite sorts all rows.
    """

    def __init__(self, numbers: QuerySet[Any], size: int, fields: Sequence[str]) -> None:
        super().__init__(numbers, size)
        self._fields = fields

    def _get_page(self, object_list: QuerySet[Any], *args: Any, **kwargs: Any) -> Page:
        shown = TrainSession.objects.filter(pk__in=object_list).order_by("-started", "-pk")
        texts = {f"{name}_text": Cast(name, TextField()) for name in DOCUMENTS if name in self._fields}
        columns = [column for name in self._fields if name not in DOCUMENTS for column in COLUMNS.get(name, (name,))]
        return super()._get_page(shown.values(*dict.fromkeys(columns), **texts), *args, **kwargs)


def _asked(request: Request) -> tuple[str, ...]:
    """Return the fields that the lines shall have, in the order of the documentation."""
    asked = request.query_params.get("fields")
    if asked is None:
        return FIELDS
    names = {name.strip() for name in asked.split(",")}
    if unknown := names.difference(FIELDS):
        raise Refused(f"There is no field {min(unknown)[:50]!r}; there are: {', '.join(FIELDS)}.", "?fields")
    return tuple(name for name in FIELDS if name in names)


def _lines(rows: list[dict[str, Any]], fields: Sequence[str], address: str) -> Iterator[dict[str, Any]]:
    for row in rows:
        for name in DOCUMENTS:
            if (text := row.get(f"{name}_text")) is not None:
                row[name] = msgspec.Raw(text.encode())
        if "state" in fields:
            row["state"] = _state(row)
        if "project" in fields:
            row["project"] = {"id": row["project_id"], "name": row["project__name"]}
        if "url" in fields:
            row["url"] = f"{address}{row['id']}"
        yield {name: row[name] for name in fields}


def _state(row: dict[str, Any]) -> str:
    if row["status"] != SessionStatus.RUNNING:
        return str(row["status"])
    return TrainSession(**{name: row[name] for name in OF_STATE}).state
