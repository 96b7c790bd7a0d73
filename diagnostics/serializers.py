"""The shapes of the guide's sections 3.1, 8 and 9, for validation of requests and for the API's description."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from diagnostics.engine import IssueCategory, IssueSeverity
from diagnostics.models import DiagnosticRun, State, Trigger
from projects.models import Profile
from projects.serializers import PolicySettings
from projects.services.policy import checked_settings
from sessions.models import SessionStatus

SEVERITIES = [str(each) for each in IssueSeverity]


class DiagnosisRequest(PolicySettings):
    """How to judge, where it differs from the project's own settings. Needs the project in the context."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises Refused, which is a 400 with the path of the setting."""
        given = dict(self.initial_data.items())
        checked = checked_settings(self.context["project"], given)
        return {name: checked[name] for name, value in given.items() if value is not None}


class PinRequest(serializers.Serializer):
    """Which of a session's results is usual from now on, and for what task."""

    name = serializers.CharField(help_text="The task.")
    metric = serializers.CharField(default="accuracy", help_text='"accuracy", "loss" or a validation metric.')


class IssueOut(serializers.Serializer):
    severity = serializers.ChoiceField(SEVERITIES)
    category = serializers.ChoiceField([str(each) for each in IssueCategory])
    title = serializers.CharField()
    description = serializers.CharField()
    epoch_index = serializers.IntegerField(allow_null=True)
    layer_id = serializers.CharField(allow_null=True)
    metric_key = serializers.CharField(allow_null=True)
    metric_value = serializers.JSONField(allow_null=True, help_text='A number; "nan", "inf" and "-inf" are spelled.')
    suggestion = serializers.CharField()
    check_id = serializers.CharField()
    evidence = serializers.DictField()
    count = serializers.IntegerField()
    caused_by = serializers.CharField(allow_null=True, help_text="Id of the check whose issue explains this one.")
    suppressed = serializers.CharField(allow_null=True, help_text="Null: only what counts is reported here.")
    fix = serializers.CharField(allow_null=True, help_text="Python code made of the run's own facts, if any can be.")


class SeverityCounts(serializers.Serializer):
    critical = serializers.IntegerField()
    warning = serializers.IntegerField()
    info = serializers.IntegerField()


class NamedIssueOut(serializers.Serializer):
    """An issue by name and kind; all of it is in ``issues``."""

    check_id = serializers.CharField()
    severity = serializers.ChoiceField(SEVERITIES)
    category = serializers.ChoiceField([str(each) for each in IssueCategory])
    title = serializers.CharField()
    layer_id = serializers.CharField(allow_null=True)
    metric_key = serializers.CharField(allow_null=True)


class EpochTrendOut(serializers.Serializer):
    """Issues of one epoch. One that occurred in several epochs is in each of them."""

    epoch = serializers.IntegerField()
    issue_count = serializers.IntegerField()
    severity_breakdown = SeverityCounts()
    issues = NamedIssueOut(many=True)


class LayerHighlightOut(serializers.Serializer):
    """Issues of one layer; ``severity_score`` is the sum of their weights."""

    layer_id = serializers.CharField()
    layer_type = serializers.CharField(allow_null=True)
    severity_score = serializers.IntegerField()
    issues = IssueOut(many=True)


class SummaryOut(serializers.Serializer):
    severity_breakdown = SeverityCounts()
    category_breakdown = serializers.DictField(child=serializers.IntegerField())
    suppressed_count = serializers.IntegerField()
    skipped_checks = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="Checks that could not look, with what was not logged.",
    )
    checks_run = serializers.IntegerField()
    profile = serializers.CharField()
    engine_version = serializers.CharField()
    policy = serializers.DictField(
        required=False, help_text="By what it was judged, as far as it differs from the defaults."
    )
    note = serializers.CharField(required=False, help_text="Why there is no score.")


class LayerPair(serializers.Serializer):
    layer_a = serializers.CharField()
    layer_b = serializers.CharField()
    correlation = serializers.FloatField()


class SustainabilityOut(serializers.Serializer):
    optimal_stop_epoch = serializers.IntegerField(allow_null=True)
    wasted_epochs = serializers.IntegerField()
    wasted_compute_pct = serializers.FloatField()
    wasted_duration_seconds = serializers.FloatField(allow_null=True)
    total_training_duration_seconds = serializers.FloatField(allow_null=True)
    total_samples_processed = serializers.IntegerField(allow_null=True)
    dead_layers = serializers.ListField(child=serializers.CharField())
    vanishing_gradient_layers = serializers.ListField(child=serializers.CharField())
    frozen_output_layers = serializers.ListField(child=serializers.CharField())
    redundant_layer_pairs = LayerPair(many=True)
    parameter_efficiency_score = serializers.FloatField(allow_null=True)
    total_co2_kg = serializers.FloatField(allow_null=True)
    total_energy_kwh = serializers.FloatField(allow_null=True)
    co2_per_epoch_avg_kg = serializers.FloatField(allow_null=True)
    co2_per_1k_samples_kg = serializers.FloatField(allow_null=True)
    avg_power_draw_watts = serializers.FloatField(allow_null=True)
    wasted_co2_kg = serializers.FloatField(allow_null=True)


class RunSummary(serializers.ModelSerializer):
    """One diagnosis in a list. Score and counts are null until there is an answer."""

    session_id = serializers.IntegerField(read_only=True)
    created_at = serializers.DateTimeField(source="created", read_only=True)
    summary_json = serializers.DictField(source="summary", read_only=True)
    state = serializers.ChoiceField(State.choices, read_only=True)
    trigger = serializers.ChoiceField(Trigger.choices, read_only=True)
    profile = serializers.ChoiceField(Profile.choices, read_only=True)

    class Meta:
        model = DiagnosticRun
        fields = [
            "id",
            "session_id",
            "created_at",
            "health_score",
            "issue_count",
            "arch_type",
            "summary_json",
            "state",
            "trigger",
            "profile",
            "epoch_count",
        ]


class DiagnosticRunOut(serializers.Serializer):
    """A whole diagnosis. ``health_score`` is null for a session without epochs: nothing was trained yet."""

    id = serializers.IntegerField()
    session_id = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    health_score = serializers.IntegerField(allow_null=True, min_value=0, max_value=100)
    issue_count = serializers.IntegerField()
    arch_type = serializers.CharField()
    summary_json = SummaryOut()
    issues = IssueOut(many=True)
    epoch_trends = EpochTrendOut(many=True)
    session_level_issues = IssueOut(many=True)
    layer_highlights = LayerHighlightOut(many=True)
    sustainability = SustainabilityOut()


class RunState(serializers.Serializer):
    """A diagnosis that is not there yet: ask again at ``url``."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(State.choices)
    url = serializers.CharField()


class RunFailure(RunState):
    detail = serializers.CharField()


class HealthOut(serializers.Serializer):
    session_id = serializers.IntegerField()
    health_score = serializers.IntegerField(allow_null=True, min_value=0, max_value=100)
    severity_counts = SeverityCounts()
    top_issues = IssueOut(many=True)
    top_layers = LayerHighlightOut(many=True)


class TrendPoint(serializers.Serializer):
    session_id = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.ChoiceField(SessionStatus.choices)
    started_at = serializers.DateTimeField()
    health_score = serializers.IntegerField(allow_null=True)
    severity_counts = SeverityCounts()
    change = serializers.IntegerField(allow_null=True, help_text="Against the scored session before it.")


class TrendOut(serializers.Serializer):
    """The newest sessions of a project, oldest first."""

    project_id = serializers.IntegerField()
    project = serializers.CharField()
    session_count = serializers.IntegerField(help_text="All sessions, also those before the newest.")
    average_health_score = serializers.FloatField(allow_null=True)
    improvement = serializers.IntegerField(allow_null=True, help_text="The last score less the first.")
    sessions = TrendPoint(many=True)
