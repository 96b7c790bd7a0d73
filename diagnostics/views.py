"""Pages of what was found: a session with its verdict, a diagnostic run, and what the checks mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from django.db.models import Case, F, IntegerField, Q, TextField, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe
from drf_spectacular.generators import SchemaGenerator

from diagnostics.engine import CHECKS, Check, IssueSeverity, docs
from diagnostics.models import DiagnosticRun, FoundIssue, State, Trigger
from diagnostics.services import request_diagnosis
from observer_client.record import Epoch
from sessions.models import SessionStatus, TrainSession, TrainStep

RUNS_SHOWN = 10
EPOCHS_SHOWN = 50
LINES_SHOWN = 15
ISSUES_SHOWN = 200
"""Of each severity: beyond that nobody reads on, and the report as JSON has them all."""
SEVERITIES = tuple(str(each) for each in IssueSeverity)
UNFINISHED = (State.QUEUED, State.RUNNING)


@require_safe
def session(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one session: its verdict, issues, curves, figures and the end of its log. htmx gets the issues alone."""
    shown = get_object_or_404(_sessions(request).select_related("model"), pk=pk)
    verdict = _verdict(shown)
    found = _findings(verdict, request.GET.get("severity", ""))
    score = verdict.health_score if verdict else None
    context: dict[str, Any] = {"session": shown, "run": verdict, "score": score, "found": found}
    if _wants_part(request):
        return _page(request, "diagnostics/_issues.html", context)
    runs = list(shown.diagnostic_runs.order_by("-queued", "-pk")[: RUNS_SHOWN + 1])
    awaited = next((run for run in runs if run.state in UNFINISHED), None)
    is_running = shown.status == SessionStatus.RUNNING
    context |= {
        "latest": max((run for run in runs if run.finished), key=attrgetter("finished"), default=None),
        "awaited": awaited,
        # A running session is diagnosed all the time: its page must not load again under the reader's eyes.
        "is_polled": awaited and (not verdict or not is_running or awaited.trigger == Trigger.REQUESTED),
        "runs": runs[:RUNS_SHOWN],
        "has_more_runs": len(runs) > RUNS_SHOWN,
        "steps": list(shown.steps.order_by("epoch").values_list("epoch", "train_loss", "val_loss")),
        "epochs": _latest_epochs(shown),
        "lines": list(shown.logs.order_by("-seq")[:LINES_SHOWN])[::-1],
        "is_running": is_running,
    }
    return _page(request, "diagnostics/session.html", context)


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
    found = _findings(shown, request.GET.get("severity", ""))
    context = {"run": shown, "session": shown.session, "found": found, "is_unfinished": shown.state in UNFINISHED}
    return _page(request, "diagnostics/_issues.html" if _wants_part(request) else "diagnostics/run.html", context)


@require_safe
def checks(request: HttpRequest) -> HttpResponse:
    """List every check by category."""
    ordered = sorted(CHECKS.values(), key=lambda check: str(check.category))
    by_category = groupby(map(_entry, ordered), key=itemgetter("category"))
    groups = [(category, list(entries)) for category, entries in by_category]
    return render(request, "diagnostics/checks.html", {"groups": groups, "number": len(CHECKS)})


@require_safe
def check(request: HttpRequest, check_id: str) -> HttpResponse:
    """Show the documentation page of one check."""
    if check_id not in CHECKS:
        raise Http404(f"There is no check {check_id}.")
    found = CHECKS[check_id]
    return render(request, "diagnostics/check.html", {"check": _entry(found), "text": docs.page(found)})


@require_safe
def thresholds(request: HttpRequest) -> HttpResponse:
    """Show every number that decides whether something is an issue."""
    return render(request, "diagnostics/check.html", {"text": docs.thresholds_page()})


def _entry(check: Check) -> dict[str, str]:
    # A check can be called, and a template calls whatever can be.
    return {
        "id": check.id,
        "title": check.title,
        "category": str(check.category),
        "severity": str(check.severity),
        "symptom": check.doc.partition("\n\n")[0],
    }


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Show the OpenAPI schema for readers."""
    return render(request, "diagnostics/api_docs.html", {"schema": _schema()})


@dataclass(frozen=True, slots=True)
class Group:
    """The issues of one severity, as many as a page shows."""

    severity: str
    issues: list[FoundIssue]
    left_out: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found, as its page shows it. ``skipped`` pairs a check with the columns it missed."""

    groups: list[Group]
    counts: dict[str, int]
    suppressed: list[FoundIssue]
    skipped: list[tuple[str, Any]]
    severity: str
    markers: list[dict[str, Any]]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def _findings(run: DiagnosticRun | None, severity: str) -> Findings:
    """Sort a run's issues by severity; ``severity`` leaves only those of one."""
    issues: Sequence[FoundIssue] = list(run.issues.order_by("position")) if run else []
    reported = [issue for issue in issues if not issue.suppressed]
    by_severity = {name: [issue for issue in reported if issue.severity == name] for name in SEVERITIES}
    wanted = (severity,) if severity in SEVERITIES else SEVERITIES
    groups = [
        Group(name, found[:ISSUES_SHOWN], max(0, len(found) - ISSUES_SHOWN))
        for name, found in by_severity.items()
        if found and name in wanted
    ]
    return Findings(
        groups=groups,
        counts={name: len(found) for name, found in by_severity.items()},
        suppressed=[issue for issue in issues if issue.suppressed][:ISSUES_SHOWN],
        skipped=sorted(run.summary.get("skipped_checks", {}).items()) if run else [],
        severity=severity if severity in SEVERITIES else "",
        markers=list(_markers(reported)),
    )


def _markers(issues: Iterable[FoundIssue]) -> Iterable[dict[str, Any]]:
    for issue in issues:
        if issue.epoch_index is not None:
            yield {"epoch": issue.epoch_index, "severity": issue.severity, "title": issue.title, "id": issue.pk}


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


@cache
def _schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)
