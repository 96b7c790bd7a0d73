"""Pages of what was observed: the home page, a project's sessions, a session's log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Case, Count, F, OuterRef, Q, QuerySet, Subquery, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.timezone import now
from django.views.decorators.http import require_safe

from projects.models import Project
from projects.services import is_owner
from projects.services.documents import clean
from sessions.listing import HEAVY, Listing, cells, offered
from sessions.models import LEAST_SILENCE, Liveness, SessionLog, SessionStatus, TrainSession

PROJECTS_ON_A_PAGE = 50
LINES_ON_A_PAGE = 200
RUNNING_READ, RUNNING_SHOWN, SILENT_SHOWN = 100, 10, 5
RECURRING = 5
SPARKLINE_LENGTH = 30
TREND_LENGTH = 60
GRAVEST = Case(When(severity="critical", then=0), When(severity="warning", then=1), default=2)
LEVELS = {
    # What the log page offers: this level and what is worse.
    "info": ("INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"),
    "warning": ("WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"),
    "error": ("ERROR", "CRITICAL", "FATAL"),
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the projects, those with the newest sessions first, and what is running now."""
    sessions = TrainSession.objects.kept().filter(project=OuterRef("pk")).order_by()
    projects = Project.objects.visible_to(request.user).annotate(
        session_count=Subquery(sessions.values("project").annotate(number=Count("pk")).values("number")),
        newest=Subquery(sessions.order_by("-started").values("started")[:1]),
        recent_since=Subquery(sessions.order_by("-started").values("started")[SPARKLINE_LENGTH - 1 : SPARKLINE_LENGTH]),
    )
    page = Paginator(projects.order_by(F("newest").desc(nulls_last=True), "name"), PROJECTS_ON_A_PAGE).get_page(
        request.GET.get("page")
    )
    recent = _recent_sessions(page.object_list)
    running = TrainSession.objects.visible_to(request.user).running().kept().defer(*HEAVY).select_related("project")
    problems = _open_problems(page.object_list)
    context = {
        "page": page,
        "cards": [(project, recent[project.pk], problems[project.pk]) for project in page.object_list],
        "going": _going(running.order_by("-last_seen", "-pk")),
        "is_first_run": not any(project.session_count for project in page.object_list),
    }
    return render(request, "home.html", context)


def _going(running: QuerySet[TrainSession]) -> list[tuple[str, list[TrainSession], int]]:
    """Tell what runs from what went silent: heading, sessions, how many more. However many run, silence is seen.

    ``running`` is sorted by when it was heard of.
    """
    read = list(running[:RUNNING_READ])
    if len(read) == RUNNING_READ:
        quiet = running.filter(last_seen__lt=min(read[-1].last_seen, now() - LEAST_SILENCE))
        read += quiet[:RUNNING_READ]
    alive: list[TrainSession] = []
    silent: list[TrainSession] = []
    for session in read:
        (silent if session.state == Liveness.LOST else alive).append(session)
    parts = (("Running now", alive, RUNNING_SHOWN), ("Went silent", silent, SILENT_SHOWN))
    return [(title, several[:most], max(0, len(several) - most)) for title, several, most in parts if several]


def _open_problems(projects: Iterable[Any]) -> dict[int, dict[str, int]]:
    """Return how many open problems of each severity each project has: one query for all projects."""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    # By their other end: they belong to the floor above.
    open_ones = Q(problems__status="open", problems__merged_into=None)
    rows = Project.objects.filter(open_ones, pk__in=[project.pk for project in projects]).order_by()
    for pk, severity, number in rows.values_list("pk", "problems__severity").annotate(number=Count("problems")):
        found[pk][severity] = number
    return found


def _recent_sessions(projects: Iterable[Any]) -> dict[int, list[TrainSession]]:
    """Return the judged ones of each project's latest sessions, oldest first: one query for all projects.

    ``recent_since`` bounds each project's share, so that the index finds it and a long history costs nothing.
    """
    wanted = Q(pk__in=[])
    for project in projects:
        since = {"started__gte": project.recent_since} if project.recent_since else {}
        wanted |= Q(project=project.pk, **since)
    found: dict[int, list[TrainSession]] = defaultdict(list)
    judged = TrainSession.objects.kept().filter(wanted).exclude(health_score=None)
    for session in judged.defer(*HEAVY).order_by("started", "pk"):
        found[session.project_id].append(session)
    return found


@require_safe
def project(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project's sessions as the query asks for them, how their health and footprint went, what recurs."""
    shown = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    listing = Listing.of(request.GET)
    page = listing.page(shown, request.GET.get("page"))
    latest = list(reversed(shown.sessions.kept().defer(*HEAVY).order_by("-started", "-pk")[:TREND_LENGTH]))
    others, tags = offered(shown.sessions.kept(), listing)
    context = {
        "project": shown,
        "may_manage": is_owner(shown, request.user),
        "page": page,
        "rows": [(session, cells(session, listing.columns)) for session in page],
        "listing": listing,
        "moves": listing.moves(),
        "others": others,
        "tags": tags,
        "statuses": SessionStatus.choices,
        "trend": [session for session in latest if session.health_score is not None],
        "footprint": [session for session in latest if session.co2_kg is not None],
        # By its other end: the problems belong to the floor above.
        "recurring": list(
            shown.problems.filter(status="open", merged_into=None).order_by(GRAVEST, "-session_count", "pk")[:RECURRING]
        ),
        "socket": f"/ws/projects/{pk}",
        "news": f"/projects/{pk}/news",
    }
    return render(request, "projects/project.html", context)


def _search(request: HttpRequest) -> str:
    # PostgreSQL refuses NUL, also in what is searched for.
    return clean(request.GET.get("q", "")).strip()


@require_safe
def logs(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a session's log, from a level on, with a text in it."""
    sessions = TrainSession.objects.visible_to(request.user).select_related("project")
    session = get_object_or_404(sessions, pk=pk)
    level, text = request.GET.get("level", ""), _search(request)
    lines: QuerySet[SessionLog] = session.logs.order_by("seq")
    if level in LEVELS:
        lines = lines.filter(Q(level__in=LEVELS[level]) | Q(kind="error"))
    if text:
        lines = lines.filter(msg__icontains=text)
    context = {
        "session": session,
        "page": Paginator(lines, LINES_ON_A_PAGE).get_page(request.GET.get("page")),
        "levels": LEVELS,
        "level": level,
        "text": text,
        "is_filtered": bool(level or text),
    }
    return render(request, "sessions/logs.html", context)
