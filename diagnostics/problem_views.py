"""Pages of triage: what needs a look, a project's problems, one problem. Every action is a plain form."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from diagnostics.engine import CHECKS
from diagnostics.problem_models import LARGEST_ID, Activity, Occurrence, Problem, SavedSearch
from diagnostics.problem_serializers import OrderIn
from diagnostics.services.problems import (
    AT_ONCE,
    CATEGORIES,
    MOST_MUTED_SESSIONS,
    SEVERITIES,
    Person,
    Search,
    assignees,
    carry_out,
    counts,
    latest_issue,
    own_searches,
    rates,
    strip,
)
from diagnostics.services.problems import save_search as keep_search
from diagnostics.templatetags.markdown import section
from projects.models import Project
from projects.services import Refused, is_owner

ON_A_PAGE = 50
CHOICES = 200
"""Members and other problems that a form offers."""
ACTIVITY_ON_A_PAGE = 50
OCCURRENCES_SHOWN = 10
SORT_LABELS = {
    "severity": "gravest first",
    "last": "last seen",
    "first": "first seen",
    "sessions": "most sessions",
    "changed": "last changed",
    "title": "title",
}
TABS = {"inbox": "Needs a look", "open": "Open", "resolved": "Resolved", "muted": "Muted", "all": "All"}
DONE = {
    "resolve": "resolved",
    "resolve_next": "resolved from the next session on",
    "reopen": "opened again",
    "review": "marked as seen",
    "mute": "muted",
    "assign": "assigned",
    "comment": "commented",
    "merge": "merged",
    "unmerge": "taken out again",
}


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the problems of all projects, at first those that need a look."""
    problems = Problem.objects.visible_to(request.user)
    return _list(request, problems, Search.of(request.GET.dict(), status="inbox"), {})


@require_safe
def of_project(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project's problems, at first the open ones."""
    project = _project(request, pk)
    search = Search.of(request.GET.dict(), status="open")
    context = {
        "project": project,
        "members": list(assignees(project.pk)[:CHOICES]),
        "searches": list(own_searches(project, request.user)),
        "is_owner": is_owner(project, request.user),
        "query": urlencode([(name, value) for name, value in request.GET.items() if name != "page" and value]),
    }
    return _list(request, Problem.objects.filter(project=project), search, context)


def _list(request: HttpRequest, problems: QuerySet[Problem], search: Search, extra: dict[str, Any]) -> HttpResponse:
    found = search.found(problems, request.user).select_related("project", "assignee", "first_session", "last_session")
    page = Paginator(found, ON_A_PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    rate = rates(shown)
    number = counts(search.narrowed(problems, request.user), request.user)
    context = {
        "page": page,
        "rows": [(problem, rate[problem.pk]) for problem in shown],
        "search": search,
        "tabs": [(state, label, number[state]) for state, label in TABS.items()],
        "checks": list(problems.order_by("check_id").values_list("check_id", flat=True).distinct()),
        "severities": SEVERITIES,
        "categories": CATEGORIES,
        "sorts": SORT_LABELS,
        "is_empty": not number["all"] and not search.is_narrow,
        **extra,
    }
    return render(request, "problems/list.html", context)


@require_safe
def problem(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one problem: what it means, where it was, what was done about it. A merged one leads to what it became."""
    shown = Problem.objects.visible_to(request.user).followed([pk]).first()
    if shown is None:
        raise Http404(f"There is no problem {pk} here.")
    if shown.pk != pk:
        return redirect(shown)
    shown = Problem.objects.select_related("project", "assignee", "first_session", "last_session").get(pk=pk)
    check = CHECKS.get(shown.check_id)
    occurrences = Occurrence.objects.filter(problem=shown).select_related("session")
    others = Problem.objects.unmerged().filter(project=shown.project_id).exclude(pk=pk).order_by("title", "pk")
    layers = list(dict.fromkeys(layer for each in occurrences[:OCCURRENCES_SHOWN] for layer in each.layers))
    context = {
        "problem": shown,
        "rate": rates([shown])[shown.pk],
        "strip": strip(shown),
        "occurrences": occurrences[:OCCURRENCES_SHOWN],
        "issue": latest_issue(shown),
        "is_documented": check is not None,
        "meaning": section(check, "Why it matters") if check else "",
        "fix": section(check, "How to fix it") if check else "",
        "layers": [layer for layer in layers if layer not in shown.muted_layers],
        "members": list(assignees(shown.project_id)[:CHOICES]),
        "others": list(others.only("pk", "title", "layer_pattern")[:CHOICES]),
        "parts": list(shown.merged.only("pk", "title", "layer_pattern", "merged_into").order_by("pk")[:CHOICES]),
        "most_sessions": MOST_MUTED_SESSIONS,
        "page": Paginator(_activity(shown), ACTIVITY_ON_A_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "problems/problem.html", context)


def _activity(problem: Problem) -> QuerySet[Activity]:
    return Activity.objects.filter(problem=problem).select_related("session")


@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Do something to the chosen problems, to all or to none, and go back to where the form was."""
    back = _back(request)
    ids = {min(int(each), LARGEST_ID) for each in request.POST.getlist("problem") if _is_number(each)}
    if len(ids) > AT_ONCE:
        messages.error(request, f"At most {AT_ONCE} problems at once.")
        return back
    visible = Problem.objects.visible_to(request.user)
    if visible.filter(pk__in=ids).count() != len(ids):
        raise Http404("There is no such problem here.")
    found = list(visible.followed(ids))
    asked = OrderIn(data=_order(request.POST))
    if not asked.is_valid():
        name, errors = next(iter(asked.errors.items()))
        messages.error(request, f"{name.capitalize()}: {errors[0]}")
        return back
    order = asked.order()
    try:
        number = carry_out(found, Person.of(request.user), order)
    except Refused as refusal:
        messages.error(request, str(refusal))
        return back
    messages.success(request, f"{number} problem{'s' if number != 1 else ''} {DONE[order.action]}.")
    return back


def _order(form: QueryDict) -> dict[str, str]:
    """Read a form. An action may bring its details along, as ``mute?sessions=10``."""
    action, _, details = form.get("action", "").partition("?")
    said = {name: value for name, value in form.items() if value.strip()}
    return {**said, "action": action, **dict(parse_qsl(details))}


def _back(request: HttpRequest) -> HttpResponseRedirect:
    there = request.POST.get("next", "")
    is_ours = there.startswith("/") and url_has_allowed_host_and_scheme(there, allowed_hosts=None)
    return HttpResponseRedirect(there if is_ours else "/problems")


@require_POST
def save_search(request: HttpRequest, pk: int) -> HttpResponse:
    """Keep a search under a name; the same name again replaces it."""
    project = _project(request, pk)
    try:
        saved, _ = keep_search(project, request.user, request.POST.get("name", ""), request.POST.get("query", ""))
    except Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"The search “{saved.name}” is saved.")
    return _back(request)


@require_POST
def forget_search(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a saved search of one's own."""
    searches = SavedSearch.objects.filter(user=_account(request), project__in=Project.objects.visible_to(request.user))
    get_object_or_404(searches, pk=pk).delete()
    return _back(request)


@require_POST
def save_settings(request: HttpRequest, pk: int) -> HttpResponse:
    """Say after how many clean sessions problems of a project are resolved. For its owners."""
    project = _project(request, pk)
    number = request.POST.get("resolve_after", "")
    if not is_owner(project, request.user):
        messages.error(request, "Only an owner of the project may change this.")
    elif not _is_number(number) or int(number) > MOST_MUTED_SESSIONS:
        messages.error(request, f"Give a number of sessions from 0 to {MOST_MUTED_SESSIONS}.")
    else:
        Project.objects.filter(pk=pk).update(resolve_after=int(number))
        messages.success(request, "Saved. It holds from the next session on.")
    return _back(request)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 40


def _project(request: HttpRequest, pk: int) -> Project:
    return get_object_or_404(Project.objects.visible_to(request.user), pk=pk)


def _account(request: HttpRequest) -> Any:
    return request.user if request.user.is_authenticated else None
