"""Pages of what there is to know without any run: the checks, the thresholds, the API."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from diagnostics.engine import CHECKS, Check, docs


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


@cache
def _schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)
