"""What was observed, in the admin. It is evidence: to look at and to delete, not to edit."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from projects.models import Project
from sessions import services
from sessions.models import Model, SessionLog, TrainSession, TrainStep

SHOWN_CHARACTERS = 50_000


def pretty(document: Any) -> SafeString:
    """Return a JSON value, or its text, as escaped and indented HTML, cut where it is long."""
    value = json.loads(document) if isinstance(document, str) else document
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[:SHOWN_CHARACTERS]}\n… {len(text) - SHOWN_CHARACTERS:,} more characters"
    return format_html('<pre class="payload" tabindex="0">{}</pre>', text)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Shows rows that programs write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(TrainSession)
class TrainSessionAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "status", "health_score", "critical_count", "epoch_count", "started", "finished"]
    list_filter = ["status", "project", "started"]
    list_select_related = ["project"]
    search_fields = ["name", "key", "project__name"]
    date_hierarchy = "started"
    show_full_result_count = False
    exclude = ["hyperparameters", "environment", "config"]
    readonly_fields = ["shown_hyperparameters", "shown_environment", "shown_config"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainSession]:
        return super().get_queryset(request).defer("environment", "config")

    def delete_model(self, request: HttpRequest, obj: TrainSession) -> None:
        services.delete_sessions(obj.project, [obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TrainSession]) -> None:
        chosen: dict[Project, list[int]] = defaultdict(list)
        for session in queryset.select_related("project"):
            chosen[session.project].append(session.pk)
        for project, pks in chosen.items():
            services.delete_sessions(project, pks)

    @admin.display(description="hyperparameters")
    def shown_hyperparameters(self, session: TrainSession) -> SafeString:
        return pretty(session.hyperparameters)

    @admin.display(description="environment")
    def shown_environment(self, session: TrainSession) -> SafeString:
        return pretty(session.environment)

    @admin.display(description="config")
    def shown_config(self, session: TrainSession) -> SafeString:
        return pretty(session.config)


@admin.register(TrainStep)
class TrainStepAdmin(ReadOnlyAdmin):
    list_display = ["session", "epoch", "attempt", "train_loss", "val_loss", "non_finite", "received"]
    list_filter = ["non_finite", "received"]
    list_select_related = ["session"]
    search_fields = ["session__name", "session__key"]
    show_full_result_count = False
    exclude = ["payload"]
    readonly_fields = ["shown_payload"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainStep]:
        return super().get_queryset(request).defer("payload", "packed")

    @admin.display(description="payload")
    def shown_payload(self, step: TrainStep) -> SafeString:
        return pretty(step.payload)


@admin.register(Model)
class ModelAdmin(ReadOnlyAdmin):
    list_display = ["session", "model_class", "total_parameters"]
    list_select_related = ["session"]
    search_fields = ["model_class", "session__name"]
    show_full_result_count = False
    exclude = ["architecture"]
    readonly_fields = ["shown_architecture"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).defer("architecture")

    @admin.display(description="architecture")
    def shown_architecture(self, model: Model) -> SafeString:
        return pretty(model.architecture)


@admin.register(SessionLog)
class SessionLogAdmin(ReadOnlyAdmin):
    list_display = ["session", "seq", "ts", "level", "kind", "logger", "beginning"]
    list_filter = ["level", "kind", "ts"]
    list_select_related = ["session"]
    search_fields = ["msg", "logger", "session__name"]
    show_full_result_count = False

    @admin.display(description="message")
    def beginning(self, line: SessionLog) -> str:
        return line.msg[:120]
