"""What sessions measured, whole: every number of every epoch, of one session or of several."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Q
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from projects.services import NotFound, Refused
from sessions import services
from sessions.api import ERROR, KEY, sessions_named
from sessions.models import TrainSession
from sessions.services.items import LARGEST_NUMBER

MOST_SESSIONS = 50
COLUMNS = "Lists of numbers by name, all as long as `epoch`. 400 for more than 200,000 epochs or 4,000,000 numbers."
PART = [
    OpenApiParameter("names", str, description="Names, separated by commas: no other lists than these and `epoch`."),
    OpenApiParameter("first", int, description="No earlier epoch than this."),
    OpenApiParameter("last", int, description="No later epoch than this."),
]
SESSIONS = OpenApiParameter(
    "sessions", str, required=True, description=f"UUIDs or numbers, separated by commas: {MOST_SESSIONS} at most."
)


class MetricHistory(APIView):
    @extend_schema(
        parameters=[KEY, *PART],
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, COLUMNS), 400: ERROR, 404: ERROR},
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """Every number of every epoch but those of layers: one list for each name, parallel to `epoch`.

        `null` where an epoch did not log it; NaN and infinity are spelled as `"nan"`, `"inf"`, `"-inf"`.
        """
        part = _part(request)
        session = sessions_named(request, key).order_by().values_list("pk", flat=True).first()
        if session is None:
            raise NotFound(f"There is no session {key[:50]} here.")
        return _answer(services.metric_histories([session], **part)[session])


class MetricHistories(APIView):
    @extend_schema(
        parameters=[SESSIONS, *PART],
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, "`sessions`: id, key, name and metrics of each, as asked for."),
            400: ERROR,
            404: ERROR,
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """The numbers of several sessions, each as `/api/sessions/{key}/metrics` says them, in one answer."""
        part, asked = _part(request), _names(request, "sessions")
        if not 0 < len(asked) <= MOST_SESSIONS:
            raise Refused(f"sessions names 1 to {MOST_SESSIONS} sessions, separated by commas.", "?sessions")
        found = _found(request, asked)
        histories = services.metric_histories([pk for pk, *_ in found], **part)
        lines = [{"id": pk, "key": key, "name": name, "metrics": histories[pk]} for pk, key, name in found]
        return _answer({"sessions": lines})


def _found(request: Request, asked: list[str]) -> list[tuple[int, UUID, str]]:
    """Return number, key and name of each session that was asked for, in that order. Raises NotFound."""
    numbers = {int(each) for each in asked if _is_number(each)}
    keys = {key for each in asked if (key := _uuid(each))}
    visible = TrainSession.objects.visible_to(request.user, request.auth).order_by()
    rows = list(visible.filter(Q(pk__in=numbers) | Q(key__in=keys)).values_list("pk", "key", "name"))
    known: dict[str | UUID, tuple[int, UUID, str]] = {str(row[0]): row for row in rows} | {row[1]: row for row in rows}
    found = {}
    for each in asked:
        row = known.get(str(int(each)) if _is_number(each) else _uuid(each) or "")
        if row is None:
            raise NotFound(f"There is no session {each[:50]} here.")
        found[row[0]] = row
    return list(found.values())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _part(request: Request) -> dict[str, Any]:
    last = _epoch(request, "last")
    return {"names": _names(request, "names"), "first": _epoch(request, "first") or 0, "last": last}


def _names(request: Request, parameter: str) -> list[str]:
    return [name for name in request.query_params.get(parameter, "").split(",") if name]


def _epoch(request: Request, parameter: str) -> int | None:
    text = request.query_params.get(parameter)
    if text is None:
        return None
    if not _is_number(text) or int(text) > LARGEST_NUMBER:
        raise Refused(f"{parameter} is the number of an epoch.", f"?{parameter}")
    return int(text)


def _answer(body: Any) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type="application/json")
