"""What people do with the sessions that they have ticked in a project's table. Every action is a plain form."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from projects.models import Project
from projects.services import Refused, is_owner
from sessions import services

SHOWN = 50
ACTIONS = {"tag": "tagged", "untag": "stripped of the tag", "archive": "archived", "restore": "restored"}


@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare, tag, archive, restore or delete the ticked sessions. Deleting is for owners and asks once more."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    ticked, action = _ticked(request), request.POST.get("action", "")
    if not ticked:
        messages.error(request, "Nothing was ticked: choose the sessions first.")
        return _back(request, project)
    if action == "compare":
        return HttpResponseRedirect("/compare?sessions=" + ",".join(map(str, ticked)))
    if action == "delete":
        return _delete(request, project, ticked)
    if action not in ACTIONS:
        messages.error(request, "Nothing was done: the page asked for something unknown.")
        return _back(request, project)
    try:
        number = _carry_out(action, project, ticked, request.POST.get("tag", ""))
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{_sessions(number)} {ACTIONS[action]}.")
    return _back(request, project)


def _carry_out(action: str, project: Project, ticked: list[int], tag: str) -> int:
    if action in ("tag", "untag"):
        return services.tag_sessions(project, ticked, tag, remove=action == "untag")
    put = services.archive_sessions if action == "archive" else services.restore_sessions
    return put(project, ticked)


def _delete(request: HttpRequest, project: Project, ticked: list[int]) -> HttpResponse:
    if not is_owner(project, request.user):
        raise PermissionDenied("Only an owner of the project may delete its sessions.")
    if request.POST.get("confirmed") == "yes":
        messages.success(request, f"{_sessions(services.delete_sessions(project, ticked))} deleted.")
        return _back(request, project)
    found = project.sessions.filter(pk__in=ticked).only("name", "started", "epoch_count", "project")
    context = {
        "project": project,
        "number": found.count(),
        "sessions": found.order_by("-started")[:SHOWN],
        "ticked": ticked,
        "query": request.POST.get("query", ""),
    }
    return render(request, "projects/delete.html", context)


def _ticked(request: HttpRequest) -> list[int]:
    texts = request.POST.getlist("sessions")
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 19]
    return list(dict.fromkeys(numbers))[: services.AT_ONCE]


def _back(request: HttpRequest, project: Project) -> HttpResponse:
    """Lead back to the table as it was."""
    query = QueryDict(request.POST.get("query", "")).urlencode()
    return HttpResponseRedirect(project.get_absolute_url() + (f"?{query}" if query else ""))


def _sessions(number: int) -> str:
    return f"{number} session{'' if number == 1 else 's'}"
