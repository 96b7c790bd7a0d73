"""Pages of what was observed: the home page, a project's sessions, a session's log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, DurationField, ExpressionWrapper, F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from projects.models import Project
from projects.services.documents import clean
from sessions.models import SessionLog, SessionStatus, TrainSession

SESSIONS_ON_A_PAGE = 50
PROJECTS_ON_A_PAGE = 50
LINES_ON_A_PAGE = 200
RUNNING_SHOWN = 10
SPARKLINE_LENGTH = 30
TREND_LENGTH = 60
HEAVY = ("hyperparameters", "environment", "config", "reason")
"""Columns that no list shows, and that may be large."""

LEVELS = {
    # What the log page offers: this level and what is worse.
    "info": ("INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"),
    "warning": ("WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"),
    "error": ("ERROR", "CRITICAL", "FATAL"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of sessions. ``fields`` are what it sorts by; ``nulls`` says that they may be empty."""

    key: str
    label: str
    fields: tuple[str, ...]
    nulls: bool = False


COLUMNS = (
    Column("name", "Session", ("name",)),
    Column("status", "Status", ("status",)),
    Column("score", "Health", ("health_score",), nulls=True),
    Column("issues", "Issues", ("critical_count", "warning_count", "info_count")),
    Column("epochs", "Epochs", ("epoch_count",)),
    Column("train", "Train loss", ("train_loss",), nulls=True),
    Column("val", "Val loss", ("val_loss",), nulls=True),
    Column("started", "Started", ("started",)),
    Column("duration", "Duration", ("duration",), nulls=True),
    Column("co2", "CO₂", ("co2_kg",), nulls=True),
)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the projects, those with the newest sessions first, and what is running now."""
    sessions = TrainSession.objects.filter(project=OuterRef("pk")).order_by()
    projects = Project.objects.visible_to(request.user).annotate(
        session_count=Subquery(sessions.values("project").annotate(number=Count("pk")).values("number")),
        newest=Subquery(sessions.order_by("-started").values("started")[:1]),
        recent_since=Subquery(sessions.order_by("-started").values("started")[SPARKLINE_LENGTH - 1 : SPARKLINE_LENGTH]),
    )
    page = Paginator(projects.order_by(F("newest").desc(nulls_last=True), "name"), PROJECTS_ON_A_PAGE).get_page(
        request.GET.get("page")
    )
    recent = _recent_sessions(page.object_list)
    running = TrainSession.objects.visible_to(request.user).running().defer(*HEAVY).select_related("project")
    context = {
        "page": page,
        "cards": [(project, recent[project.pk]) for project in page.object_list],
        "running": running.order_by("-last_seen")[:RUNNING_SHOWN],
        "is_first_run": not any(project.session_count for project in page.object_list),
    }
    return render(request, "home.html", context)


def _recent_sessions(projects: Iterable[Any]) -> dict[int, list[TrainSession]]:
    """Return the judged ones of each project's latest sessions, oldest first: one query for all projects.

    ``recent_since`` bounds each project's share, so that the index finds it and a long history costs nothing.
    """
    wanted = Q(pk__in=[])
    for project in projects:
        since = {"started__gte": project.recent_since} if project.recent_since else {}
        wanted |= Q(project=project.pk, **since)
    found: dict[int, list[TrainSession]] = defaultdict(list)
    judged = TrainSession.objects.filter(wanted).exclude(health_score=None)
    for session in judged.defer(*HEAVY).order_by("started", "pk"):
        found[session.project_id].append(session)
    return found


@require_safe
def project(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project's sessions, filtered and sorted as the query says, and the trend of their health."""
    shown = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    everything = shown.sessions.defer(*HEAVY)
    status, text = request.GET.get("status", ""), _search(request)
    sort = request.GET.get("sort", "")
    page = Paginator(_sorted(_filtered(everything, status, text), sort), SESSIONS_ON_A_PAGE).get_page(
        request.GET.get("page")
    )
    trend = everything.exclude(health_score=None).order_by("-started", "-pk")[:TREND_LENGTH]
    context = {
        "project": shown,
        "page": page,
        "columns": COLUMNS,
        "statuses": SessionStatus.choices,
        "status": status,
        "text": text,
        "sort": sort if sort.removeprefix("-") in {column.key for column in COLUMNS} else "-started",
        "is_filtered": bool(status or text),
        "trend": list(reversed(trend)),
    }
    return render(request, "projects/project.html", context)


def _search(request: HttpRequest) -> str:
    # PostgreSQL refuses NUL, also in what is searched for.
    return clean(request.GET.get("q", "")).strip()


def _filtered(sessions: QuerySet[TrainSession], status: str, text: str) -> QuerySet[TrainSession]:
    if status in SessionStatus.values:
        sessions = sessions.filter(status=status)
    return sessions.filter(name__icontains=text) if text else sessions


def _sorted(sessions: QuerySet[TrainSession], sort: str) -> QuerySet[TrainSession]:
    """Order by a column's key, descending after ``-``; what has no value comes last in both directions."""
    column = next((column for column in COLUMNS if column.key == sort.removeprefix("-")), None)
    if column is None:
        return sessions.order_by("-started", "-pk")
    if column.key == "duration":
        length = ExpressionWrapper(F("finished") - F("started"), output_field=DurationField())
        sessions = sessions.annotate(duration=length)
    # A column without NULLs must not name their place: the index would be of no use.
    place = {"nulls_last": True} if column.nulls else {}
    terms = [F(name).desc(**place) if sort.startswith("-") else F(name).asc(**place) for name in column.fields]
    return sessions.order_by(*terms, "-pk")


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
