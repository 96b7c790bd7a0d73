"""Projects in the admin: members, keys, and how they judge. A new key is shown once, as a message."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

from projects.models import ApiKey, Baseline, KeyKind, Membership, Project
from projects.services import Refused, Taken, drop_baseline, issue_key, policy_settings, revoke_key
from projects.services.policy import COLUMNS, checked_figures, checked_settings, figures, record_changes

CHANGES_SHOWN = 20
FIGURES = ("metric", "direction", "value", "epochs", "parameters")


class MembersInline(admin.TabularInline):
    model = Membership
    extra = 0
    # A field to look somebody up: the one that completes names sets styles that the policy of the pages forbids.
    raw_id_fields = ["user"]


class KeysInline(admin.TabularInline):
    model = ApiKey
    extra = 0
    can_delete = False
    show_change_link = True
    fields = readonly_fields = ["prefix", "kind", "name", "created", "created_by", "last_used", "expires", "revoked"]
    verbose_name_plural = "API keys (make one with the action in the list of projects)"

    def has_add_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("created_by")


class ProjectForm(forms.ModelForm):
    """Refuses, beside the field, what the engine cannot judge by."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        given = {name: cleaned[column] for name, column in COLUMNS.items() if column in cleaned}
        try:
            checked = checked_settings(self.instance, given)
        except Refused as error:
            setting = (error.path or "$").lstrip("$.").partition(".")[0].partition("[")[0]
            self.add_error(COLUMNS.get(setting), f"{(error.path or '').removeprefix('$.')}: {error}")
            return cleaned
        return {**cleaned, **{COLUMNS[name]: checked[name] for name in given}}


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
    readonly_fields = ["created", "latest_changes"]
    inlines = [MembersInline, KeysInline]
    actions = [key_action(kind) for kind in KeyKind]
    form = ProjectForm

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        before = policy_settings(Project.objects.get(pk=obj.pk) if change else Project())
        super().save_model(request, obj, form, change)
        record_changes(obj, before, policy_settings(obj), user=request.user)

    @admin.display(description=f"latest {CHANGES_SHOWN} changes of the policy")
    def latest_changes(self, project: Project) -> SafeString | str:
        latest = project.policy_changes.all()[:CHANGES_SHOWN] if project.pk else ()
        rows = [(f"{each.at:%Y-%m-%d %H:%M}", each.by, each.setting, each.old, each.new) for each in latest]
        return format_html_join(mark_safe("<br>"), "{} {}: {} from {} to {}", rows) or "none"

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


class BaselineForm(forms.ModelForm):
    """Refuses, beside the field, what nothing can be compared with."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        name = cleaned.get("name") or self.instance.name
        if not self.errors:
            try:
                usual = checked_figures(name, {each: cleaned.get(each) for each in FIGURES})
            except Refused as error:
                field = (error.path or "").removeprefix("$.")
                self.add_error(field if field in self.fields else None, str(error))
            else:
                cleaned["direction"] = usual.direction
        return cleaned


@admin.register(Baseline)
class BaselineAdmin(admin.ModelAdmin):
    list_display = ["name", "project", "metric", "direction", "value", "epochs", "parameters", "source"]
    list_filter = ["project"]
    list_select_related = ["project"]
    search_fields = ["name", "project__name", "source"]
    form = BaselineForm

    def get_readonly_fields(self, request: HttpRequest, obj: Baseline | None = None) -> list[str]:
        # Under another name it would be another baseline.
        return ["project", "name"] if obj else []

    def save_model(self, request: HttpRequest, obj: Baseline, form: Any, change: bool) -> None:
        before = figures(Baseline.objects.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)
        setting = f"baselines.{obj.name}"
        record_changes(obj.project, {setting: before}, {setting: figures(obj)}, user=request.user)

    def delete_model(self, request: HttpRequest, obj: Baseline) -> None:
        try:
            drop_baseline(obj.project, obj, user=request.user)
        except Taken as error:
            self.message_user(request, f"{obj} is still there. {error}", messages.ERROR)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Baseline]) -> None:
        for each in queryset.select_related("project"):
            self.delete_model(request, each)


admin.site.unregister([User, Group])


@admin.register(User)
class AccountAdmin(UserAdmin):
    """With plain fields in place of those that no screen reader can name."""

    filter_horizontal = ()
    readonly_fields = ["last_login", "date_joined"]


@admin.register(Group)
class PlainGroupAdmin(GroupAdmin):
    """As with accounts."""

    filter_horizontal = ()
