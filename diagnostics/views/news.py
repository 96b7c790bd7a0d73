"""News of a session or a project for pages whose WebSocket does not come through: the same, asked for."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from diagnostics.services import number_in, project_news, session_news
from projects.models import Project
from sessions.models import TrainSession


@require_safe
@never_cache
def of_session(request: HttpRequest, pk: int) -> JsonResponse:
    """Return how a session stands and its alerts since ``after``."""
    session = get_object_or_404(TrainSession.objects.visible_to(request.user), pk=pk)
    return JsonResponse(session_news(session, number_in(request.GET.get("after", ""))))


@require_safe
@never_cache
def of_project(request: HttpRequest, pk: int) -> JsonResponse:
    """Return how many sessions of a project are running and its alerts since ``after``."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    return JsonResponse(project_news(project, number_in(request.GET.get("after", ""))))
