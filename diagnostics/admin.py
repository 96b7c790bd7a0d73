from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from diagnostics import services
from diagnostics.models import DiagnosticRun, FoundIssue, LearnedNormal
from sessions.admin import ReadOnlyAdmin, pretty


@admin.register(DiagnosticRun)
class DiagnosticRunAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "session_name",
        "project_name",
        "trigger",
        "profile",
        "state",
        "attempts",
        "health_score",
        "issue_count",
        "epoch_count",
        "created",
    ]
    list_filter = ["state", "trigger", "profile", "session__project", "created"]
    list_select_related = ["session__project"]
    list_per_page = 50
    search_fields = ["session__name", "session__key", "session__project__name", "error"]
    date_hierarchy = "created"
    actions = ["diagnose_again"]
    exclude = ["thresholds", "summary", "sustainability"]
    readonly_fields = ["found", "thresholds_text", "summary_text", "sustainability_text"]
    show_full_result_count = False

    @admin.display(description="session", ordering="session__name")
    def session_name(self, run: DiagnosticRun) -> str:
        return run.session.name

    @admin.display(description="project", ordering="session__project__name")
    def project_name(self, run: DiagnosticRun) -> str:
        return run.session.project.name

    @admin.display(description="issues")
    def found(self, run: DiagnosticRun) -> SafeString:
        url = f"{reverse('admin:diagnostics_foundissue_changelist')}?run__id__exact={run.pk}"
        return format_html('<a href="{}">{} issues</a>', url, run.issue_count)

    @admin.display(description="thresholds")
    def thresholds_text(self, run: DiagnosticRun) -> SafeString:
        return pretty(run.thresholds)

    @admin.display(description="summary")
    def summary_text(self, run: DiagnosticRun) -> SafeString:
        return pretty(run.summary)

    @admin.display(description="sustainability")
    def sustainability_text(self, run: DiagnosticRun) -> SafeString:
        return pretty(run.sustainability)

    @admin.action(description="Diagnose again", permissions=["view"])
    def diagnose_again(self, request: HttpRequest, chosen: QuerySet[DiagnosticRun]) -> None:
        """Order a new diagnosis, by today's standards, of every session chosen."""
        sessions = {run.session_id: run.session for run in chosen.select_related("session__project")}
        for session in sessions.values():
            services.request_diagnosis(session)
        self.message_user(request, f"{len(sessions)} diagnoses are queued.", messages.SUCCESS)


@admin.register(FoundIssue)
class FoundIssueAdmin(ReadOnlyAdmin):
    list_display = [
        "title",
        "severity",
        "category",
        "check_id",
        "session_name",
        "epoch_index",
        "layer_id",
        "is_reported",
    ]
    list_filter = ["severity", "category", "check_id", "run__session__project"]
    list_select_related = ["run__session"]
    list_per_page = 50
    search_fields = ["title", "description", "check_id", "layer_id", "metric_key", "run__session__name"]
    ordering = ["-run_id", "position"]
    exclude = ["evidence", "metric_value"]
    readonly_fields = ["metric_text", "evidence_text"]
    show_full_result_count = False

    @admin.display(description="session", ordering="run__session__name")
    def session_name(self, issue: FoundIssue) -> str:
        return issue.run.session.name

    @admin.display(description="reported", boolean=True)
    def is_reported(self, issue: FoundIssue) -> bool:
        return not issue.suppressed

    @admin.display(description="metric value")
    def metric_text(self, issue: FoundIssue) -> SafeString:
        return pretty(issue.metric_value)

    @admin.display(description="evidence")
    def evidence_text(self, issue: FoundIssue) -> SafeString:
        return pretty(issue.evidence)


@admin.register(LearnedNormal)
class LearnedNormalAdmin(ReadOnlyAdmin):
    list_display = ["project", "version", "created", "sessions", "epochs"]
    list_filter = ["project", "created"]
    list_select_related = ["project"]
    list_per_page = 50
    exclude = ["document"]
    readonly_fields = ["document_text"]
    show_full_result_count = False

    @admin.display(description="model")
    def document_text(self, normal: LearnedNormal) -> SafeString:
        return pretty(normal.document)
