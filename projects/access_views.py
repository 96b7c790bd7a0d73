"""Who may see a project: its members and the keys of their programs. Members look, owners change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from projects.models import ApiKey, KeyKind, Project, Role
from projects.services import Refused, add_member, change_role, is_owner, issue_key, remove_member, revoke_key
from projects.services.documents import clean

KEY_NAME_LENGTH = 100
LIFETIMES = {"": "never", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}
KEYS_SHOWN = 200


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def access(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a project's members and keys; a POST changes one of them. A new key is in the answer, and never again."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    if request.method != "POST":
        return _page(request, project)
    if not is_owner(project, request.user):
        raise PermissionDenied("Only an owner of the project may change who may see it.")
    act = ACTS.get(request.POST.get("action", ""))
    if act is None:
        messages.error(request, "Nothing was done: the page asked for something unknown.")
        return redirect("access", pk=pk)
    try:
        made = act(request, project)
    except Refused as error:
        return _page(request, project, refusal=str(error))
    return _page(request, project, key=made) if made else redirect("access", pk=pk)


def _add(request: HttpRequest, project: Project) -> None:
    member = add_member(project, request.POST.get("username", ""), request.POST.get("role", ""))
    messages.success(request, f"{member.user.get_username()} is a member now.")


def _remove(request: HttpRequest, project: Project) -> None:
    member = get_object_or_404(project.memberships.select_related("user"), pk=_number(request, "member"))
    remove_member(member)
    messages.success(request, f"{member.user.get_username()} is no member any more.")


def _role(request: HttpRequest, project: Project) -> None:
    member = get_object_or_404(project.memberships.select_related("user"), pk=_number(request, "member"))
    change_role(member, request.POST.get("role", ""))
    messages.success(request, f"{member.user.get_username()} is {member.get_role_display()} now.")


def _issue(request: HttpRequest, project: Project) -> str:
    kind, days = request.POST.get("kind", ""), request.POST.get("days", "")
    if kind not in KeyKind.values:
        raise Refused("Choose what the key may do.", "$.kind")
    if days not in LIFETIMES:
        raise Refused("Choose when the key ends.", "$.days")
    name = clean(request.POST.get("name", "").strip(), KEY_NAME_LENGTH)
    expires = now() + timedelta(days=int(days)) if days else None
    return issue_key(project, kind, name=name, created_by=request.user, expires=expires)[1]


def _revoke(request: HttpRequest, project: Project) -> None:
    key = get_object_or_404(project.api_keys, pk=_number(request, "key"))
    revoke_key(key)
    messages.success(request, f"The key {key.prefix}… is revoked.")


ACTS: dict[str, Callable[[HttpRequest, Project], str | None]] = {
    "add": _add,
    "remove": _remove,
    "role": _role,
    "issue": _issue,
    "revoke": _revoke,
}


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Show who is signed in, their projects, and the keys they have made."""
    user: Any = request.user
    if not user.is_authenticated:
        # Only in the open mode, where nobody is asked.
        return redirect("login")
    context = {
        "memberships": user.memberships.select_related("project").order_by("project__name"),
        "keys": ApiKey.objects.filter(created_by=user.pk, project__in=Project.objects.visible_to(user)).select_related(
            "project"
        )[:KEYS_SHOWN],
        "now": now(),
    }
    return render(request, "accounts/account.html", context)


def _page(request: HttpRequest, project: Project, **said: Any) -> HttpResponse:
    context = {
        "project": project,
        "may_manage": is_owner(project, request.user),
        "members": project.memberships.select_related("user").order_by("user__username"),
        "keys": project.api_keys.select_related("created_by")[:KEYS_SHOWN],
        "kinds": KeyKind.choices,
        "roles": Role.choices,
        "lifetimes": LIFETIMES.items(),
        "now": now(),
        **said,
    }
    return render(request, "projects/access.html", context, status=400 if "refusal" in said else 200)


def _number(request: HttpRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
