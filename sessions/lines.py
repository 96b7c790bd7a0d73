"""The lines of the API's list of sessions: from columns to JSON, without a model or a serializer in between.

A list is asked for more often than anything else, and its rows are many: saying field by field what `SessionOut` says
takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
from django.core.paginator import EmptyPage, Page, PageNotAnInteger, Paginator
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
        """Return the page and the fields that the request asks for. Two queries. Raises Refused.

        Counting is the one thing that takes longer the more sessions there are: ``?count=false`` leaves it out.
        """
        self._fields = _asked(request)
        self.django_paginator_class = partial(_Paginator, fields=self._fields, is_counted=_is_counted(request))
        rows = self.paginate_queryset(sessions.order_by("-started", "-pk").values("pk"), request) or []
        body = {
            "count": self.page.paginator.said_count,
            "next": self.get_next_link(),
            "previous": self.get_previous_link(),
            "results": list(_lines(rows, self._fields, request.build_absolute_uri("/sessions/"))),
        }
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")


class _Paginator(Paginator):
    """Cuts numbers of sessions into pages, and gives the columns of those on a page.

    A database that is asked for numbers alone finds them in an index; asked for whole rows, SQLite sorts all rows.
    Without a count it looks one session further than the page, to tell whether another follows.
    """

    def __init__(self, numbers: QuerySet[Any], size: int, *, fields: Sequence[str], is_counted: bool) -> None:
        super().__init__(numbers, size)
        self._fields, self._is_counted = fields, is_counted

    @property
    def said_count(self) -> int | None:
        return self.count if self._is_counted else None

    def page(self, number: int | str) -> Page:
        place = self.validate_number(number)
        bottom = (place - 1) * self.per_page
        if self._is_counted:
            return self._get_page(self._between(bottom, min(bottom + self.per_page, self.count)), place, self)
        rows = list(self._rows(self.object_list[bottom : bottom + self.per_page + 1]))
        self.num_pages = place + (len(rows) > self.per_page)
        if not rows and place > 1:
            raise EmptyPage(self.error_messages["no_results"])
        return super()._get_page(rows[: self.per_page], place, self)

    def validate_number(self, number: int | str) -> int:
        if self._is_counted:
            return super().validate_number(number)
        place = int(number) if str(number).isascii() and str(number).isdigit() and len(str(number)) < 10 else 0
        if place < 1:
            raise PageNotAnInteger(self.error_messages["invalid_page"])
        return place

    def _between(self, bottom: int, top: int) -> QuerySet[Any]:
        # A database walks over all that comes before a page, so it is asked from the nearer end.
        if bottom <= self.count // 2:
            return self.object_list[bottom:top]
        return self.object_list.reverse()[self.count - top : self.count - bottom]

    def _get_page(self, object_list: QuerySet[Any], *args: Any, **kwargs: Any) -> Page:
        return super()._get_page(self._rows(object_list), *args, **kwargs)

    def _rows(self, numbers: QuerySet[Any]) -> QuerySet[Any]:
        shown = TrainSession.objects.filter(pk__in=numbers).order_by("-started", "-pk")
        texts = {f"{name}_text": Cast(name, TextField()) for name in DOCUMENTS if name in self._fields}
        columns = [column for name in self._fields if name not in DOCUMENTS for column in COLUMNS.get(name, (name,))]
        return shown.values(*dict.fromkeys(columns), **texts)


def _is_counted(request: Request) -> bool:
    asked = request.query_params.get("count", "true")
    if asked not in ("true", "false"):
        raise Refused("count is true or false.", "?count")
    return asked == "true"


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
