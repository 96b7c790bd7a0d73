"""Projects in the admin: members and keys. A new key is shown once, as a message."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from projects.models import ApiKey, KeyKind, Membership, Project
from projects.services import issue_key, revoke_key


class MembersInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


class KeysInline(admin.TabularInline):
    model = ApiKey
    extra = 0
    can_delete = False
    fields = readonly_fields = ["prefix", "kind", "name", "created", "created_by", "last_used", "expires", "revoked"]
    verbose_name_plural = "API keys (make one with the action in the list of projects)"

    def has_add_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("created_by")


def key_action(kind: KeyKind) -> Any:
    """Return an admin action that makes a key of ``kind`` for each chosen project."""

    @admin.action(description=f"Make an API key – {kind.label}", permissions=["change"])
    def make_key(modeladmin: ProjectAdmin, request: HttpRequest, queryset: QuerySet[Project]) -> None:
        for project in queryset:
            _, text = issue_key(project, kind, name="made in the admin", created_by=request.user)
            modeladmin.message_user(request, f"Key of {project}, shown this once: {text}", messages.WARNING)

    make_key.__name__ = f"make_{kind.name.lower()}_key"
    return make_key


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ["name", "profile", "member_count", "created"]
    list_filter = ["profile", "created"]
    search_fields = ["name", "description"]
    date_hierarchy = "created"
    readonly_fields = ["created"]
    inlines = [MembersInline, KeysInline]
    actions = [key_action(kind) for kind in KeyKind]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return super().get_queryset(request).annotate(_members=Count("memberships"))

    @admin.display(description="members", ordering="_members")
    def member_count(self, project: Any) -> int:
        return int(project._members)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    """Only to look and to revoke: a row made by hand would be a key that nobody knows."""

    list_display = ["prefix", "project", "kind", "name", "created", "last_used", "expires", "revoked"]
    list_filter = ["kind", "revoked"]
    list_select_related = ["project"]
    search_fields = ["prefix", "name", "project__name"]
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    @admin.action(description="Revoke the selected keys", permissions=["delete"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            revoke_key(key)
        self.message_user(request, f"{len(queryset)} keys revoked.", messages.SUCCESS)
