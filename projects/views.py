"""The page on which a project says how it judges. Members look, owners change."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from diagnostics.engine import InvalidSetting
from projects.forms import LIMIT, BaselineForm, PolicyForm, shipped
from projects.models import Project
from projects.services import (
    Refused,
    declare_baseline,
    drop_baseline,
    is_owner,
    project_policy,
    replace_policy,
)

CHANGES_ON_A_PAGE = 25
SAVED = "Saved. Diagnoses from now on follow it; stored ones keep the policy they were made by."


@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project's policy, its baselines and the history; a POST saves the policy."""
    project = _visible(request, pk)
    if request.method != "POST":
        return _page(request, project)
    _refuse_members(request, project)
    form = PolicyForm(project, _without_reset(request))
    if form.is_valid():
        try:
            replace_policy(project, {} if "defaults" in request.POST else form.settings(), user=request.user)
        except Refused as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, SAVED)
            return redirect("policy", pk=pk)
    return _page(request, project, form=form)


@require_POST
def baseline(request: HttpRequest, pk: int) -> HttpResponse:
    """Declare what is usual for a task, or forget it (``drop``)."""
    project = _visible(request, pk)
    _refuse_members(request, project)
    if "drop" in request.POST:
        return _drop(request, project)
    form = BaselineForm(request.POST)
    if form.is_valid():
        try:
            made, _ = declare_baseline(project, form.cleaned_data["name"], form.figures(), user=request.user)
        except Refused as error:
            field = (error.path or "").removeprefix("$.")
            form.add_error(field if field in form.fields else None, str(error))
        else:
            messages.success(request, f"The baseline {made.name} is stored.")
            return redirect("policy", pk=pk)
    return _page(request, project, baseline_form=form)


def _drop(request: HttpRequest, project: Project) -> HttpResponse:
    found = get_object_or_404(project.baselines, pk=_number(request.POST["drop"]))
    name = found.name
    try:
        drop_baseline(project, found, user=request.user)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The baseline {name} is forgotten.")
    return redirect("policy", pk=project.pk)


def _page(request: HttpRequest, project: Project, **forms: Any) -> HttpResponse:
    may_change = is_owner(project, request.user)
    changes = Paginator(project.policy_changes.all(), CHANGES_ON_A_PAGE)
    context = {
        "project": project,
        "may_change": may_change,
        "form": forms.get("form") or PolicyForm(project, may_change=may_change),
        "baseline_form": forms.get("baseline_form") or BaselineForm(),
        "baselines": project.baselines.all(),
        "shipped": shipped(),
        "page": changes.get_page(request.GET.get("page")),
        "unusable": _unusable(project),
    }
    return render(request, "projects/policy.html", context)


def _unusable(project: Project) -> str:
    """Return why no session can be judged by what is stored, if that is so."""
    try:
        project_policy(Project.objects.get(pk=project.pk))
    except InvalidSetting as error:
        return f"{error.place}: {error}" if error.place else str(error)
    return ""


def _without_reset(request: HttpRequest) -> Any:
    """Return what was sent, less the field whose own button says that it goes back to the default."""
    sent = request.POST.copy()
    if reset := request.POST.get("reset"):
        sent.pop(LIMIT + reset, None)
    return sent


def _visible(request: HttpRequest, pk: int) -> Project:
    return get_object_or_404(Project.objects.visible_to(request.user), pk=pk)


def _refuse_members(request: HttpRequest, project: Project) -> None:
    if not is_owner(project, request.user):
        raise PermissionDenied("Only an owner of the project may change how it judges.")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
