"""Pages of a session: with its verdict, its layers, and each of its diagnoses."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec
from django.core.paginator import Paginator
from django.db.models import Case, F, IntegerField, Q, TextField, Value, When
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from diagnostics.engine import Run
from diagnostics.models import DiagnosticRun, State, Trigger
from diagnostics.services import AXES, Heat, charts, heat, latest_alert, observed, plot, request_diagnosis
from diagnostics.services.references import beside_baseline
from diagnostics.views.findings import Findings, findings
from diagnostics.views.model import architecture, profile
from diagnostics.views.series import NotNumbers, asked_part, refused
from observer_client.record import Epoch
from sessions.models import SessionStatus, TrainSession, TrainStep

RUNS_SHOWN = 10
EPOCHS_SHOWN = 50
LINES_SHOWN = 15
LAYERS_ON_A_PAGE = 25
DRAWN_POINTS, SMALL_POINTS = 500, 160
UNFINISHED = (State.QUEUED, State.RUNNING)


@require_safe
def session(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one session: its verdict, issues, curves, layers, figures and the end of its log.

    htmx gets the issues alone.
    """
    shown = get_object_or_404(_sessions(request).select_related("model"), pk=pk)
    # Before the rest, so that no alert falls between what the page shows and what it hears.
    alert = latest_alert(session=pk) if shown.status == SessionStatus.RUNNING else 0
    verdict, logged = _verdict(shown), observed(shown)
    found = findings(verdict, request.GET.get("severity", ""), logged)
    score = verdict.health_score if verdict else None
    context: dict[str, Any] = {"session": shown, "run": verdict, "score": score, "found": found}
    if _wants_part(request):
        return _page(request, "diagnostics/_issues.html", context)
    runs = list(shown.diagnostic_runs.order_by("-queued", "-pk")[: RUNS_SHOWN + 1])
    awaited = next((run for run in runs if run.state in UNFINISHED), None)
    is_running = shown.status == SessionStatus.RUNNING
    context |= _curves(request, shown, logged, verdict) | _layers(request, logged, found)
    context |= {
        "latest": max((run for run in runs if run.finished), key=attrgetter("finished"), default=None),
        "awaited": awaited,
        # A running session is diagnosed all the time: its page must not load again under the reader's eyes.
        "is_polled": awaited and (not verdict or not is_running or awaited.trigger == Trigger.REQUESTED),
        "runs": runs[:RUNS_SHOWN],
        "has_more_runs": len(runs) > RUNS_SHOWN,
        "epochs": _latest_epochs(shown),
        "lines": list(shown.logs.order_by("-seq")[:LINES_SHOWN])[::-1],
        "is_running": is_running,
        "socket": f"/ws/sessions/{pk}",
        "news": f"/sessions/{pk}/news",
        "latest_alert": alert,
        "architecture": architecture(getattr(shown, "model", None), logged, found.layers),
        "profile": profile(logged),
    }
    return _page(request, "diagnostics/session.html", context)


def _curves(request: HttpRequest, session: TrainSession, logged: Run, verdict: DiagnosticRun | None) -> dict[str, Any]:
    """Return the chart that the query asks for, and all others small."""
    every = charts(logged)
    chosen = next((chart for chart in every if chart.key == request.GET.get("chart")), every[0] if every else None)
    axis = request.GET.get("x", "")
    drawn = chosen and plot(logged, chosen, axis if axis in AXES else "epoch").thinned(DRAWN_POINTS)
    small = [plot(logged, chart).thinned(SMALL_POINTS) for chart in every if chart.key != "loss"]
    return {
        "charts": every,
        "chart": chosen,
        "axes": AXES,
        "plot": drawn and beside_baseline(drawn, verdict, [session]),
        "is_logarithmic": request.GET.get("log") == "1",
        "small": small,
        "carbon": next((each for each in small if each.chart.key == "carbon"), None),
    }


@require_safe
def series(request: HttpRequest, pk: int) -> JsonResponse:
    """Return the curves of one chart: parallel lists, ``null`` where a value is absent or not finite.

    ``chart`` and ``x`` (epoch, step or time) choose; ``points`` says about how many a curve may have, ``low`` and
    ``high`` bound ``x``. ``non_finite`` lists where NaN or infinity was logged. Anything else that is asked for gets
    400 and a sentence.
    """
    shown = get_object_or_404(_sessions(request), pk=pk)
    logged = observed(shown)
    every = {chart.key: chart for chart in charts(logged)}
    asked, axis = request.GET.get("chart", "loss"), request.GET.get("x", "epoch")
    try:
        points, low, high = asked_part(request)
    except NotNumbers as error:
        return refused(str(error))
    if axis not in AXES:
        return refused(f"x is one of {', '.join(AXES)}.")
    if asked not in every and asked != "loss":
        return refused(f"This session has logged nothing for the chart {asked!r}; there are: {', '.join(every)}.")
    if asked not in every:
        return JsonResponse(
            {"chart": asked, "axis": axis, "x": [], "epoch": [], "series": {}, "references": {}, "non_finite": []}
        )
    found = plot(logged, every[asked], axis).between(low, high).thinned(points)
    return JsonResponse(beside_baseline(found, _verdict(shown), [shown]).as_dict())


@require_safe
def layers(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the health of a session's layers over its epochs. htmx gets the map alone."""
    shown = get_object_or_404(_sessions(request), pk=pk)
    verdict = _verdict(shown)
    context = {"session": shown, "run": verdict} | _layers(request, observed(shown), findings(verdict, "", None))
    return _page(request, "diagnostics/_heat.html" if _wants_part(request) else "diagnostics/layers.html", context)


def _layers(request: HttpRequest, logged: Run, found: Findings) -> dict[str, Any]:
    """Return one page of the map of layers, worst first."""
    text = request.GET.get("layer", "")
    number = request.GET.get("page", "1")
    first = LAYERS_ON_A_PAGE * (int(number) - 1 if number.isdecimal() and 0 < len(number) < 6 and int(number) else 0)
    part = slice(first, first + LAYERS_ON_A_PAGE)
    shown: Heat | None = heat(logged, request.GET.get("metric", ""), text=text, part=part, suspects=found.layers)
    pages = Paginator(range(shown.found_count if shown else 0), LAYERS_ON_A_PAGE)
    return {"heat": shown, "layer_text": text, "page": pages.get_page(number), "issue_of": _by_layer(found)}


def _by_layer(found: Findings) -> dict[str, int]:
    return {issue.layer_id: issue.pk for issue in reversed(found.issues) if issue.layer_id}


def _verdict(session: TrainSession) -> DiagnosticRun | None:
    """Return the run whose verdict the lists show, else the latest that has an answer.

    The automatic run keeps its answer while it is queued for the next one.
    """
    answered = session.diagnostic_runs.filter(Q(state=State.DONE) | Q(health_score__isnull=False))
    is_other = Case(When(created=session.diagnosed, then=0), default=1, output_field=IntegerField())
    return answered.order_by(is_other, "-finished", "-pk").first()


@require_POST
def order(request: HttpRequest, pk: int) -> HttpResponse:
    """Order a diagnosis of a session. htmx gets its state, which asks on; without JavaScript it is the page again."""
    shown = get_object_or_404(_sessions(request), pk=pk)
    ordered = request_diagnosis(shown)
    return _state(request, shown, ordered) if _wants_part(request) else redirect(shown)


@require_safe
def progress(request: HttpRequest, pk: int, run: int) -> HttpResponse:
    """Tell how far a diagnosis is; when it is done, htmx loads the page again."""
    shown = get_object_or_404(_sessions(request), pk=pk)
    awaited = get_object_or_404(shown.diagnostic_runs, pk=run)
    if not _wants_part(request):
        return redirect(shown)
    response = _state(request, shown, awaited)
    if awaited.state not in UNFINISHED:
        response.headers["HX-Refresh"] = "true"
    return response


def _state(request: HttpRequest, session: TrainSession, awaited: DiagnosticRun) -> HttpResponse:
    return _page(request, "diagnostics/_state.html", {"session": session, "awaited": awaited, "is_polled": True})


@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one diagnostic run and what it found. htmx gets the issues alone."""
    runs = DiagnosticRun.objects.visible_to(request.user).select_related("session__project")
    shown = get_object_or_404(runs, pk=pk)
    found = findings(shown, request.GET.get("severity", ""), observed(shown.session))
    context = {"run": shown, "session": shown.session, "found": found, "is_unfinished": shown.state in UNFINISHED}
    return _page(request, "diagnostics/_issues.html" if _wants_part(request) else "diagnostics/run.html", context)


def _latest_epochs(session: TrainSession) -> list[TrainStep]:
    """Return the latest epochs, newest first, with ``exact_train`` and ``exact_val`` as the client sent them.

    The scalar columns cannot say NaN, the payload can; only that of epochs with such a number is read.
    """
    payload = Case(When(non_finite=True, then=F("payload")), default=Value(""), output_field=TextField())
    steps = list(session.steps.defer("payload", "packed").annotate(sent=payload).order_by("-epoch")[:EPOCHS_SHOWN])
    for step in steps:
        loss = msgspec.json.decode(step.sent, type=Epoch, strict=False).loss if step.sent else None
        step.exact_train = loss.train_mean if loss else step.train_loss
        step.exact_val = loss.val.get("val_loss") if loss else step.val_loss
    return steps


def _sessions(request: HttpRequest) -> Any:
    return TrainSession.objects.visible_to(request.user).select_related("project")


def _wants_part(request: HttpRequest) -> bool:
    htmx = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.history_restore_request


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page of which htmx may get a part: caches must keep the two apart."""
    response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
