"""The doors of training programs: open a session, describe it, send what was observed, close it."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from observer_client.record import Architecture, Ending, Opening
from projects.models import KeyKind
from projects.parsers import Preference, sent
from projects.serializers import ErrorOut
from projects.services import NotAllowed, NotFound, Refused, is_owner
from projects.services.waiting import patience
from sessions import services
from sessions.lines import SessionPages
from sessions.models import TrainSession
from sessions.parsers import EpochsParser, Items, LogsParser
from sessions.serializers import (
    EpochPages,
    EpochResults,
    FinishOut,
    HeartbeatIn,
    HeartbeatOut,
    LogOut,
    LogResults,
    ModelOut,
    SessionDetailOut,
    SessionOut,
    SessionPatch,
    SessionRef,
    epoch_result,
    log_result,
)
from sessions.services.items import convert

ERROR = OpenApiResponse(ErrorOut)
REFUSALS = {400: ERROR, 401: ERROR, 403: ERROR, 404: ERROR, 413: ERROR, 415: ERROR}
KEY = OpenApiParameter("key", str, OpenApiParameter.PATH, description="The session's UUID; to read, also its number.")
POLL_SECONDS = 0.05


def wire(name: str) -> dict[str, Any]:
    """Name a record of the wire format as a request body; `mldiag.openapi` adds the schemas."""
    return {"application/json": {"$ref": f"#/components/schemas/{name}"}}


def sessions_named(request: Request, key: str) -> QuerySet[TrainSession]:
    """Return the query for the session with this UUID or number: empty for strangers, and for nonsense.

    Numbers are for reading: they can be guessed, and a key that writes one run must not write all others.
    """
    visible = TrainSession.objects.visible_to(request.user, request.auth)
    if key.isascii() and key.isdigit() and len(key) < 19 and request.method in SAFE_METHODS:
        return visible.filter(pk=int(key))
    with contextlib.suppress(ValueError):
        return visible.filter(key=UUID(key))
    return visible.none()


def find_session(request: Request, key: str) -> TrainSession:
    """Return the session with this UUID or number. Raises NotFound."""
    session = sessions_named(request, key).select_related("project").first()
    if session is None:
        raise NotFound(f"There is no session {key[:50]} here.")
    return session


def mapping(request: Request) -> dict[str, Any]:
    """Return the JSON object that was sent; nothing at all counts as an empty one. Raises Refused."""
    body = sent(request)
    if not isinstance(body, dict):
        raise Refused("The body is a JSON object.", "$")
    return body


def batch(request: Request) -> Items:
    """Return the items that were sent. Raises Refused when nothing was."""
    items = sent(request)
    if not isinstance(items, list):
        raise Refused("The body is empty.", "$")
    return items


class SessionList(ListAPIView):
    """Sessions, the newest first."""

    serializer_class = SessionOut
    pagination_class = SessionPages

    @extend_schema(
        parameters=[
            OpenApiParameter("project", int),
            OpenApiParameter("fields", str, description="Names, separated by commas: what a line shall have."),
            OpenApiParameter("count", bool, description="false: `count` is null, which is quicker for many sessions."),
        ],
        responses={400: ERROR},
    )
    def get(self, request: Request) -> HttpResponse:
        project = request.query_params.get("project")
        if project is not None and not (project.isascii() and project.isdigit() and len(project) < 19):
            raise Refused("project is the number of a project.", "?project")
        sessions = TrainSession.objects.visible_to(request.user, request.auth)
        return SessionPages().answer(sessions if project is None else sessions.filter(project_id=int(project)), request)


class SessionDetail(APIView):
    open_to_ingest_keys = True

    @extend_schema(parameters=[KEY], responses={200: SessionDetailOut, 404: ERROR})
    def get(self, request: Request, key: str) -> Response:
        return Response(self._said(find_session(request, key)))

    @extend_schema(
        parameters=[KEY], request=wire("Opening"), responses={200: SessionDetailOut, 201: SessionDetailOut, **REFUSALS}
    )
    def put(self, request: Request, key: str) -> Response:
        """Open a session under a UUID of the client's making. Opening it again finds it.

        An ingest key, which may not read, is told no more than number, name, status, project and page.
        """
        opening = convert({"key": key, **mapping(request)}, Opening)
        if opening.key.lower() != key.lower():
            raise Refused("The key in the body is not the one in the address.", "$.key")
        session, created = services.open_session(opening, user=request.user, key=request.auth)
        return Response(self._said(session), status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)

    @extend_schema(parameters=[KEY], request=SessionPatch, responses={200: SessionDetailOut, **REFUSALS})
    def patch(self, request: Request, key: str) -> Response:
        """Add to what is known of a session."""
        session = find_session(request, key)
        told = SessionPatch(data=mapping(request))
        told.is_valid(raise_exception=True)
        services.update_session(session, **told.validated_data)
        return Response(self._said(find_session(request, key)))

    @extend_schema(parameters=[KEY], responses={204: None, 403: ERROR, 404: ERROR})
    def delete(self, request: Request, key: str) -> Response:
        """Delete a session with all that was logged and found. For owners of its project and keys that read and write.

        What its problems tell is worked out anew from the sessions that are left.
        """
        session = find_session(request, key)
        is_trusted = request.auth.kind == KeyKind.FULL if request.auth else is_owner(session.project, request.user)
        if not is_trusted:
            raise NotAllowed("Only an owner of the project may delete its sessions.")
        services.delete_sessions(session.project, [session.pk])
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _said(self, session: TrainSession) -> dict[str, Any]:
        may_read = getattr(self.request.auth, "kind", None) != KeyKind.INGEST
        shown = SessionDetailOut if may_read else SessionRef
        return dict(shown(session, context={"request": self.request}).data)


class ModelDetail(APIView):
    open_to_ingest_keys = True

    @extend_schema(parameters=[KEY], request=wire("Architecture"), responses={200: ModelOut, **REFUSALS})
    def put(self, request: Request, key: str) -> Response:
        """Register the network that the session trains; the latest stays."""
        session, document = find_session(request, key), mapping(request)
        model = services.register_model(session, convert(document, Architecture), document=document)
        return Response(ModelOut(model).data)


class EpochList(APIView):
    open_to_ingest_keys = True
    parser_classes = [EpochsParser]

    @extend_schema(
        parameters=[KEY, OpenApiParameter("page", int), OpenApiParameter("page_size", int)],
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, "A page of epochs, as they were sent."), 404: ERROR},
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """The session's epochs, in order, as they were sent. A page of large epochs ends early: follow `next`."""
        steps = find_session(request, key).steps.order_by("epoch")
        pages = EpochPages()
        payloads = pages.paginate_queryset(steps, request, view=self)
        count, following, previous = pages.page.paginator.count, pages.get_next_link(), pages.get_previous_link()
        head = json.dumps({"count": count, "next": following, "previous": previous})
        # The payloads are JSON already: decoding them only to encode them again is most of what this answer costs.
        body = f'{head[:-1]}, "results": [{",".join(payloads)}]}}'
        return HttpResponse(body, content_type="application/json")

    @extend_schema(parameters=[KEY], request=wire("Epochs"), responses={200: EpochResults, **REFUSALS})
    def post(self, request: Request, key: str) -> Response:
        """Store epochs, each by itself: one result an item, in order."""
        results = services.store_epochs(sessions_named(request, key), batch(request))
        return Response({"results": [epoch_result(each) for each in results]})


class LogList(ListAPIView):
    open_to_ingest_keys = True
    parser_classes = [LogsParser]
    serializer_class = LogOut

    def get_queryset(self) -> QuerySet[Any]:
        return find_session(self.request, self.kwargs["key"]).logs.order_by("seq")

    @extend_schema(parameters=[KEY])
    def get(self, request: Request, key: str) -> Response:
        return super().get(request)

    @extend_schema(parameters=[KEY], request=wire("Logs"), responses={200: LogResults, **REFUSALS})
    def post(self, request: Request, key: str) -> Response:
        """Store log lines, each by itself: one result an item, in order."""
        results = services.store_logs(sessions_named(request, key), batch(request))
        return Response({"results": [log_result(each) for each in results]})


class Heartbeat(APIView):
    open_to_ingest_keys = True

    @extend_schema(parameters=[KEY], request=HeartbeatIn, responses={200: HeartbeatOut, **REFUSALS})
    def post(self, request: Request, key: str) -> Response:
        """Say that the run is alive; the answer says whether the server still counts it as running."""
        session = find_session(request, key)
        told = HeartbeatIn(data=mapping(request))
        told.is_valid(raise_exception=True)
        services.heartbeat(session, **{name: told.validated_data.get(name) for name in ("step", "expect_next_in")})
        return Response({"status": session.status})


class Finish(APIView):
    open_to_ingest_keys = True

    @extend_schema(
        parameters=[
            KEY,
            OpenApiParameter(
                "Prefer",
                str,
                OpenApiParameter.HEADER,
                description="wait=N: up to N (30) seconds, or not at all while very many wait.",
            ),
        ],
        request=wire("Ending"),
        responses={200: FinishOut, **REFUSALS},
    )
    def post(self, request: Request, key: str) -> Response:
        """Close the session. `Prefer: wait=N` waits for the diagnosis that follows."""
        session = services.finish(find_session(request, key), convert(mapping(request), Ending))
        diagnosed = await_diagnosis(session, Preference.of(request, 0.0).wait)
        return Response(FinishOut(session, context={"request": request, "diagnosed": diagnosed}).data)


def await_diagnosis(session: TrainSession, seconds: float) -> bool:
    """Wait until everything that the session sent was judged; returns whether it was."""
    with patience(seconds) as granted:
        limit = time.monotonic() + granted
        while session.diagnosed is None or session.diagnosed < session.last_seen:
            if time.monotonic() >= limit:
                return False
            if not connection.in_atomic_block:
                # Others may need the connection meanwhile: the pool has few. One that may be kept is cheaper kept.
                connection.close_if_unusable_or_obsolete()
            time.sleep(POLL_SECONDS)
            session.refresh_from_db()
    return True
