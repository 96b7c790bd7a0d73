"""The page on which two to eight sessions are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from diagnostics.engine import Run
from diagnostics.models import DiagnosticRun
from diagnostics.services import AXES, comparing, observed
from diagnostics.services.references import beside_baseline
from diagnostics.views.series import NotNumbers, asked_part, refused
from sessions.models import TrainSession

DRAWN_POINTS = 1_000
CHOICES = 60
LONGEST_LABEL = 60


@dataclass(frozen=True, slots=True)
class Compared:
    """A session of the comparison. ``first`` and ``without`` are the queries that put it first or leave it out."""

    session: TrainSession
    run: DiagnosticRun | None
    label: str
    counts: dict[str, int]
    first: str
    without: str


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Compare the sessions that the query names; with fewer than two, let the reader choose."""
    sessions = _sessions(request)
    if len(sessions) < comparing.FEWEST:
        return _choose(request, sessions)
    left_out = sessions[comparing.MOST :]
    sessions = sessions[: comparing.MOST]
    runs = {label: observed(session) for label, session in _labelled(sessions)}
    verdicts = comparing.verdicts(sessions)
    rows = comparing.issue_rows(verdicts)
    context = _chart(request, runs, sessions, verdicts[0]) | {
        "compared": _compared(sessions, list(runs), verdicts, rows),
        "query": ",".join(str(session.pk) for session in sessions),
        "facts": comparing.facts(sessions),
        "rows": rows,
        "reached": comparing.reached(list(runs.values()), verdicts[0]),
        "left_out": left_out,
        "project": _common_project(sessions),
        "most": comparing.MOST,
    }
    return render(request, "compare/compare.html", context)


@require_safe
def series(request: HttpRequest) -> JsonResponse:
    """Return one curve for each session, as a session's own series are: ``chart`` is a column's dotted name."""
    sessions = _sessions(request)[: comparing.MOST]
    runs = {label: observed(session) for label, session in _labelled(sessions)}
    every = {chart.key: chart for chart in comparing.common_charts(runs.values())}
    chart, axis = every.get(request.GET.get("chart", "")), request.GET.get("x", "epoch")
    try:
        points, low, high = asked_part(request)
    except NotNumbers as error:
        return refused(str(error))
    if axis not in AXES:
        return refused(f"x is one of {', '.join(AXES)}.")
    if chart is None:
        return refused(f"No session has logged that; there are: {', '.join(every)}.")
    drawn = comparing.overlay(runs, chart, axis, points, low, high)
    return JsonResponse(beside_baseline(drawn, comparing.verdict(sessions[0]), sessions).as_dict())


def _choose(request: HttpRequest, sessions: list[TrainSession]) -> HttpResponse:
    """Offer the latest sessions of the same project, or say where to begin."""
    chosen = sessions[0] if sessions else None
    others = TrainSession.objects.visible_to(request.user).kept().select_related("project").order_by("-started", "-pk")
    if chosen is not None:
        others = others.filter(project=chosen.project_id).exclude(pk=chosen.pk)
    context = {"chosen": chosen, "others": others[:CHOICES], "most": comparing.MOST}
    return render(request, "compare/choose.html", context)


def _sessions(request: HttpRequest) -> list[TrainSession]:
    """Return the sessions of ``?sessions=1,2`` or ``?sessions=1&sessions=2``, in that order.

    Raises Http404 if one of them is not there for this reader.
    """
    named = [text.strip() for part in request.GET.getlist("sessions") for text in part.split(",") if text.strip()]
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in named):
        raise Http404("A session is named by its number.")
    wanted = list(dict.fromkeys(int(text) for text in named))[:200]
    visible = TrainSession.objects.visible_to(request.user).select_related("project", "model")
    found = visible.in_bulk(wanted)
    if len(found) < len(wanted):
        raise Http404("There is no such session here.")
    return [found[pk] for pk in wanted]


def _labelled(sessions: list[TrainSession]) -> list[tuple[str, TrainSession]]:
    """Name each session so that no two are called the same."""
    names = [session.name[:LONGEST_LABEL] for session in sessions]
    return [
        (name if names.count(name) == 1 else f"{name} #{session.pk}", session)
        for name, session in zip(names, sessions, strict=True)
    ]


def _compared(
    sessions: list[TrainSession],
    labels: list[str],
    verdicts: list[DiagnosticRun | None],
    rows: list[comparing.IssueRow],
) -> list[Compared]:
    pks = [str(session.pk) for session in sessions]
    made = []
    for place, (session, run, label) in enumerate(zip(sessions, verdicts, labels, strict=True)):
        standings = [row.findings[place].standing for row in rows]
        counts = {name: standings.count(name) for name in ("fixed", "new", "remains")}
        others = [pk for pk in pks if pk != str(session.pk)]
        made.append(Compared(session, run, label, counts, ",".join([str(session.pk), *others]), ",".join(others)))
    return made


def _chart(
    request: HttpRequest, runs: dict[str, Run], sessions: list[TrainSession], verdict: DiagnosticRun | None
) -> dict[str, Any]:
    every = comparing.common_charts(runs.values())
    usual = next((chart for chart in every if chart.key == "loss.val.val_loss"), every[0] if every else None)
    chart = next((each for each in every if each.key == request.GET.get("chart")), usual)
    axis = request.GET.get("x", "")
    plot = chart and comparing.overlay(runs, chart, axis if axis in AXES else "epoch", DRAWN_POINTS)
    return {
        "charts": every,
        "chart": chart,
        "axes": AXES,
        "plot": plot and beside_baseline(plot, verdict, sessions),
        "markers": [],
        "is_logarithmic": request.GET.get("log") == "1",
    }


def _common_project(sessions: list[TrainSession]) -> Any:
    projects = {session.project_id: session.project for session in sessions}
    return next(iter(projects.values())) if len(projects) == 1 else None
