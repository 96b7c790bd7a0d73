"""Diagnoses, findings and problems for staff: evidence is read only, triage goes by actions.

Django's own admin, and none of its themes: it has dark mode, works by keyboard and on a phone, and is kept by
others. A theme would be one more dependency and one more thing that a strict Content-Security-Policy can break.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from diagnostics import services
from diagnostics.models import Activity, DiagnosticRun, FoundIssue, LearnedNormal, Occurrence, Problem
from diagnostics.services.problems import Action, Order, Person, carry_out, problems_of
from projects.services import Refused
from sessions.admin import ReadOnlyAdmin, pretty


class TriageForm(ActionForm):
    """Stands beside the choice of the action: to whom, and what to say."""

    assignee = forms.ModelChoiceField(
        get_user_model().objects.filter(is_active=True).order_by("username"), required=False, empty_label="nobody"
    )
    comment = forms.CharField(required=False, max_length=10_000)


def triage(name: str, label: str, **details: Any) -> Any:
    """Return an admin action that does something to problems, and adds the comment that was given with it."""

    @admin.action(description=label, permissions=["triage"])
    def act(modeladmin: TriageAdmin, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        form = TriageForm(request.POST)
        form.fields["action"].choices = modeladmin.get_action_choices(request)  # type: ignore[attr-defined]
        if not form.is_valid():
            modeladmin.message_user(request, "Choose somebody from the list.", messages.ERROR)
            return
        account, text = form.cleaned_data["assignee"], form.cleaned_data["comment"]
        to = account.get_username() if account and name == Action.ASSIGN else None
        order = Order(action=name, assignee=to, text=text, **details)
        try:
            number = carry_out(modeladmin.problems(chosen), Person.of(request.user), order)
        except Refused as refusal:
            modeladmin.message_user(request, str(refusal), messages.ERROR)
        else:
            modeladmin.message_user(
                request, f"{label}: {number} problem{'' if number == 1 else 's'}.", messages.SUCCESS
            )

    act.__name__ = "_".join([name, *details])
    return act


TRIAGE = [
    triage(Action.RESOLVE, "Resolve"),
    triage(Action.RESOLVE_NEXT, "Resolve from the next session on"),
    triage(Action.REVIEW, "Mark as seen"),
    triage(Action.REOPEN, "Open again"),
    triage(Action.MUTE, "Mute for good"),
    triage(Action.MUTE, "Mute for 10 sessions", sessions=10),
    triage(Action.ASSIGN, "Assign to (choose whom)"),
    triage(Action.COMMENT, "Comment (write what)"),
]


UNMERGE = triage(Action.UNMERGE, "Take apart what was merged into them")


class TriageAdmin(ReadOnlyAdmin):
    """Lists with the actions of triage for whoever may change problems."""

    action_form = TriageForm

    def has_triage_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("diagnostics.change_problem"))

    def problems(self, chosen: QuerySet[Any]) -> list[Problem]:
        """Return the problems that the chosen rows are about."""
        raise NotImplementedError


def diagnose_again(sessions: Iterable[Any]) -> int:
    several = {session.pk: session for session in sessions}
    for session in several.values():
        services.request_diagnosis(session)
    return len(several)


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
        number = diagnose_again(run.session for run in chosen.select_related("session__project"))
        self.message_user(request, f"{number} diagnoses are queued.", messages.SUCCESS)


class ReportedFilter(admin.SimpleListFilter):
    title = "reported"
    parameter_name = "reported"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No, held back as not significant")]

    def queryset(self, request: HttpRequest, rows: QuerySet[FoundIssue]) -> QuerySet[FoundIssue]:
        if self.value() == "yes":
            return rows.filter(suppressed="")
        return rows.exclude(suppressed="") if self.value() == "no" else rows


@admin.register(FoundIssue)
class FoundIssueAdmin(TriageAdmin):
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
    list_filter = ["severity", "category", ReportedFilter, "run__session__project", "run__created", "check_id"]
    list_select_related = ["run__session"]
    list_per_page = 50
    search_fields = ["title", "description", "check_id", "layer_id", "metric_key", "run__session__name"]
    ordering = ["-run_id", "position"]
    exclude = ["evidence", "metric_value"]
    readonly_fields = ["problem_link", "metric_text", "evidence_text"]
    show_full_result_count = False
    actions = [*TRIAGE, "diagnose_again"]

    def problems(self, chosen: QuerySet[FoundIssue]) -> list[Problem]:
        by_run = groupby(chosen.order_by("run"), key=attrgetter("run_id"))
        found = [problem for _, issues in by_run for problem in problems_of(issues).values()]
        return list({problem.pk: problem for problem in found}.values())

    def view_on_site(self, issue: FoundIssue) -> str:
        return f"{issue.run.session.get_absolute_url()}#issue-{issue.pk}"

    @admin.display(description="problem")
    def problem_link(self, issue: FoundIssue) -> SafeString | str:
        problem = problems_of([issue]).get(issue.pk)
        return _link(problem, f"{problem}: {problem.standing}") if problem else "none: it does not count"

    @admin.action(description="Diagnose their sessions again", permissions=["triage"])
    def diagnose_again(self, request: HttpRequest, chosen: QuerySet[FoundIssue]) -> None:
        number = diagnose_again(each.run.session for each in chosen.select_related("run__session__project"))
        self.message_user(request, f"{number} diagnoses are queued.", messages.SUCCESS)

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


def _link(row: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', row.get_absolute_url(), text)


class OccurrencesInline(admin.TabularInline):
    model = Occurrence
    fields = readonly_fields = ["session", "severity", "issue_count", "epoch_index", "layer_count", "started"]
    extra = max_num = 0
    can_delete = False
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Occurrence]:
        return super().get_queryset(request).select_related("session").defer("layers")


class ActivityInline(admin.TabularInline):
    model = Activity
    fields = readonly_fields = ["created", "by", "act", "text", "session"]
    extra = max_num = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Activity]:
        return super().get_queryset(request).select_related("session")


@admin.register(Problem)
class ProblemAdmin(TriageAdmin):
    list_display = [
        "title",
        "severity",
        "status",
        "substatus",
        "project",
        "layer_pattern",
        "session_count",
        "last_session_link",
        "last_seen",
        "assignee",
    ]
    list_filter = ["status", "substatus", "severity", "category", "project", "last_seen", "assignee", "check_id"]
    list_select_related = ["project", "last_session", "assignee"]
    list_per_page = 50
    search_fields = ["title", "check_id", "layer_pattern", "project__name"]
    date_hierarchy = "last_seen"
    ordering = ["-last_seen", "-pk"]
    show_full_result_count = False
    exclude = ["fingerprint"]
    inlines = [OccurrencesInline, ActivityInline]
    actions = [*TRIAGE, triage(Action.MERGE, "Merge into the oldest"), UNMERGE, "diagnose_again"]

    def problems(self, chosen: QuerySet[Problem]) -> list[Problem]:
        return list(chosen)

    @admin.display(description="last session", ordering="last_session__name")
    def last_session_link(self, problem: Problem) -> SafeString | str:
        return _link(problem.last_session, problem.last_session.name) if problem.last_session else "–"

    @admin.action(description="Diagnose their last sessions again", permissions=["triage"])
    def diagnose_again(self, request: HttpRequest, chosen: QuerySet[Problem]) -> None:
        with_session = chosen.exclude(last_session=None).select_related("last_session__project")
        number = diagnose_again(problem.last_session for problem in with_session)
        self.message_user(request, f"{number} diagnoses are queued.", messages.SUCCESS)


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
