"""What a session's page changes of its project's policy: its result becomes a baseline."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from diagnostics.services import pin_baseline
from projects.services import Refused, is_owner
from sessions.models import TrainSession


@require_POST
def pin(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a session's best result its project's baseline for a task."""
    sessions = TrainSession.objects.visible_to(request.user).select_related("project")
    session = get_object_or_404(sessions, pk=pk)
    if not is_owner(session.project, request.user):
        raise PermissionDenied("Only an owner of the project may change how it judges.")
    metric = request.POST.get("metric", "").strip() or "accuracy"
    try:
        pinned = pin_baseline(session, request.POST.get("name", ""), metric=metric, user=request.user)
    except Refused as error:
        messages.error(request, str(error))
        return redirect(session)
    messages.success(request, f"{pinned.metric} {pinned.value:.4g} of this session is the baseline {pinned.name} now.")
    return redirect("policy", pk=session.project_id)
