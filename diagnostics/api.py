"""The guide's five endpoints (section 8). Each door: parse, look up what the request may see, ask a service, answer."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import api_view
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from diagnostics import services
from diagnostics.models import DiagnosticRun, State
from diagnostics.serializers import (
    DiagnosisRequest,
    DiagnosticRunOut,
    HealthOut,
    PinRequest,
    RunFailure,
    RunState,
    RunSummary,
    TrendOut,
)
from projects.models import Project
from projects.parsers import Preference, sent
from projects.serializers import BaselineOut, ErrorOut
from projects.services import NotAllowed, NotFound, is_owner
from sessions.models import TrainSession

DEFAULT_WAIT = 10.0
RETRY_AFTER = "1"
ERROR = OpenApiResponse(ErrorOut)

PREFER = OpenApiParameter(
    "Prefer",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="RFC 7240: `respond-async` answers at once with 202, `wait=N` waits up to N seconds (at most 30). "
    "While very many wait, the answer is 202 at once.",
)


@extend_schema(
    operation_id="diagnose_session",
    parameters=[PREFER],
    request=DiagnosisRequest,
    responses={
        200: DiagnosticRunOut,
        202: OpenApiResponse(RunState, "Not ready yet. `Location` is where the answer will be."),
        400: ERROR,
        404: ERROR,
        500: OpenApiResponse(RunFailure, "The diagnosis failed; `detail` says why."),
    },
)
@api_view(["POST"])
def diagnose_session(request: Request, session_id: int) -> Response:
    """Run the full diagnosis of a session."""
    session = _session(request, session_id)
    asked = DiagnosisRequest(data=sent(request), context={"project": session.project})
    asked.is_valid(raise_exception=True)
    preference = Preference.of(request, DEFAULT_WAIT)
    run = services.request_diagnosis(session, **asked.validated_data)
    run = services.wait_for(run, preference.wait)
    response = _run_response(request, run)
    if preference.applied:
        response["Preference-Applied"] = ", ".join(preference.applied)
        response["Vary"] = "Prefer"
    return response


class SessionRuns(ListAPIView):
    """List a session's diagnoses, newest first, without their issues."""

    serializer_class = RunSummary
    queryset = DiagnosticRun.objects.none()

    def get_queryset(self) -> QuerySet[DiagnosticRun]:
        return _session(self.request, self.kwargs["session_id"]).diagnostic_runs.all()

    @extend_schema(operation_id="list_session_runs", responses={200: RunSummary(many=True), 404: ERROR})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


@extend_schema(
    operation_id="get_run",
    responses={
        200: DiagnosticRunOut,
        202: OpenApiResponse(RunState, "Not ready yet."),
        404: ERROR,
        500: OpenApiResponse(RunFailure, "The diagnosis failed; `detail` says why."),
    },
)
@api_view(["GET"])
def diagnostic_run(request: Request, run_id: int) -> Response:
    """Give one diagnosis in full."""
    run = DiagnosticRun.objects.visible_to(request.user, request.auth).filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"There is no diagnosis {run_id} here.")
    return _run_response(request, run)


@extend_schema(operation_id="get_session_health", responses={200: HealthOut, 404: ERROR})
@api_view(["GET"])
def session_health(request: Request, session_id: int) -> Response:
    """Give a session's health: of its latest diagnosis, or judged on the fly when there is none."""
    return Response(services.health_body(_session(request, session_id)))


@extend_schema(
    operation_id="pin_session", request=PinRequest, responses={200: BaselineOut, 400: ERROR, 403: ERROR, 404: ERROR}
)
@api_view(["POST"])
def pin_session(request: Request, session_id: int) -> Response:
    """Make what a session has reached its project's baseline for a task."""
    session = _session(request, session_id)
    if request.auth is None and not is_owner(session.project, request.user):
        raise NotAllowed("Only an owner of the project may do this.")
    asked = PinRequest(data=sent(request))
    asked.is_valid(raise_exception=True)
    pinned = services.pin_baseline(session, **asked.validated_data, user=request.user, key=request.auth)
    return Response(BaselineOut(pinned).data)


@extend_schema(operation_id="get_project_trend", responses={200: TrendOut, 404: ERROR})
@api_view(["GET"])
def project_trend(request: Request, project_id: int) -> Response:
    """Show how the health of a project's sessions develops."""
    project = Project.objects.visible_to(request.user, request.auth).filter(pk=project_id).first()
    if project is None:
        raise NotFound(f"There is no project {project_id} here.")
    return Response(services.trend_body(project))


def _session(request: Request, session_id: int) -> TrainSession:
    sessions = TrainSession.objects.visible_to(request.user, request.auth).select_related("project")
    session = sessions.filter(pk=session_id).first()
    if session is None:
        raise NotFound(f"There is no session {session_id} here.")
    return session


def _run_response(request: Request, run: DiagnosticRun) -> Response:
    if services.is_answered(run):
        return Response(services.run_body(run))
    url = request.build_absolute_uri(f"/diagnostics/runs/{run.pk}")
    body = {"id": run.pk, "state": run.state, "url": url}
    if run.state == State.FAILED:
        detail = f"The diagnosis failed: {run.error}"
        return Response({**body, "detail": detail}, status=status.HTTP_500_INTERNAL_SERVER_ERROR)
    return Response(body, status=status.HTTP_202_ACCEPTED, headers={"Location": url, "Retry-After": RETRY_AFTER})
