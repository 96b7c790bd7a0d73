"""What the API says about sessions."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Length
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from projects.models import Project
from projects.serializers import Pages, PlainJSONField
from sessions.models import SessionLog, TrainSession, TrainStep
from sessions.services import ItemResult, Status

STATUSES = [(each.value, each.name) for each in Status]


class EpochPages(Pages):
    """Pages of payloads. One that would get too large ends early, and ``next`` goes on with smaller pages.

    An epoch of a large network takes megabytes: five hundred of them must not be in memory at once.
    """

    most_characters = 16 * 2**20
    _rest: tuple[int, int] | None = None
    """Where a page that ended early is gone on with: number and size."""

    def paginate_queryset(self, queryset: QuerySet[TrainStep], request: Request, view: Any = None) -> list[str]:
        page: list[tuple[int, int]] = super().paginate_queryset(
            queryset.values_list("epoch", Length("payload")), request, view=view
        )
        total, fitting = 0, 0
        for _, length in page:
            total += length
            fitting += total <= self.most_characters
        size = max(1, fitting)
        if size < len(page):
            # The next page begins at a multiple of its size: so may this one have to end a little earlier still.
            start = self.page.start_index() - 1
            shown = size - start % size
            page, self._rest = page[:shown], ((start + shown) // size + 1, size)
        return list(queryset.filter(epoch__in=[epoch for epoch, _ in page]).values_list("payload", flat=True))

    def get_next_link(self) -> str | None:
        if self._rest is None or self.request is None:
            return super().get_next_link()
        number, size = self._rest
        url = replace_query_param(self.request.build_absolute_uri(), self.page_size_query_param, size)
        return replace_query_param(url, self.page_query_param, number)


class ProjectRef(serializers.ModelSerializer):
    class Meta:
        model = Project
        fields = ["id", "name"]


class SessionRef(serializers.ModelSerializer):
    """What whoever opened a session must know of it."""

    project = ProjectRef()
    url = serializers.SerializerMethodField(help_text="The session's page.")

    class Meta:
        model = TrainSession
        fields = ["id", "key", "name", "status", "project", "url"]

    def get_url(self, session: TrainSession) -> str:
        return str(self.context["request"].build_absolute_uri(session.get_absolute_url()))


class SessionOut(SessionRef):
    """One line of a list of sessions."""

    state = serializers.CharField(
        read_only=True, help_text="The status; of a running session, also whether it is stalled or lost."
    )

    class Meta(SessionRef.Meta):
        fields = [
            *SessionRef.Meta.fields,
            "state",
            "reason",
            "tags",
            "started",
            "finished",
            "last_seen",
            "epoch_count",
            "log_count",
            "train_loss",
            "val_loss",
            "co2_kg",
            "energy_kwh",
            "metrics",
            "health_score",
            "critical_count",
            "warning_count",
            "info_count",
            "diagnosed",
        ]


class SessionDetailOut(SessionOut):
    hyperparameters = PlainJSONField()
    environment = PlainJSONField()
    config = PlainJSONField()

    class Meta(SessionOut.Meta):
        fields = [
            *SessionOut.Meta.fields,
            "expect_next_in",
            "step",
            "progressed",
            "attempt",
            "hyperparameters",
            "environment",
            "config",
        ]


class SessionPatch(serializers.Serializer):
    """Fields to add to: entries of the mappings are merged one by one."""

    hyperparameters = serializers.DictField(required=False)
    environment = serializers.DictField(required=False)
    config = serializers.DictField(required=False)
    run_name = serializers.CharField(required=False, max_length=200)
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)


class HeartbeatIn(serializers.Serializer):
    epoch = serializers.IntegerField(required=False, allow_null=True)
    step = serializers.IntegerField(required=False, allow_null=True)
    expect_next_in = serializers.FloatField(
        required=False, allow_null=True, min_value=0, help_text="Seconds until the next sign of life."
    )


class HeartbeatOut(serializers.Serializer):
    status = serializers.CharField()


class ModelOut(serializers.Serializer):
    model_class = serializers.CharField()
    total_parameters = serializers.IntegerField()


class EpochResult(serializers.Serializer):
    epoch = serializers.IntegerField(allow_null=True)
    attempt = serializers.IntegerField()
    status = serializers.ChoiceField(choices=STATUSES)
    error = serializers.CharField(required=False)


class EpochResults(serializers.Serializer):
    results = EpochResult(many=True)


class LogResult(serializers.Serializer):
    seq = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=STATUSES)
    error = serializers.CharField(required=False)


class LogResults(serializers.Serializer):
    results = LogResult(many=True)


class LogOut(serializers.ModelSerializer):
    class Meta:
        model = SessionLog
        fields = ["seq", "ts", "level", "kind", "logger", "msg"]


class Diagnosis(serializers.Serializer):
    health_score = serializers.IntegerField()
    critical = serializers.IntegerField()
    warning = serializers.IntegerField()
    info = serializers.IntegerField()


class FinishOut(serializers.ModelSerializer):
    url = serializers.SerializerMethodField()
    diagnosis = serializers.SerializerMethodField()

    class Meta:
        model = TrainSession
        fields = ["id", "key", "status", "url", "diagnosis"]

    get_url = SessionRef.get_url

    @extend_schema_field(Diagnosis(allow_null=True))
    def get_diagnosis(self, session: TrainSession) -> dict[str, int | None] | None:
        if not self.context["diagnosed"]:
            return None
        return {
            "health_score": session.health_score,
            "critical": session.critical_count,
            "warning": session.warning_count,
            "info": session.info_count,
        }


def epoch_result(result: ItemResult) -> dict[str, Any]:
    return _said({"epoch": result.number, "attempt": result.attempt}, result)


def log_result(result: ItemResult) -> dict[str, Any]:
    return _said({"seq": result.number}, result)


def _said(named: dict[str, Any], result: ItemResult) -> dict[str, Any]:
    return {**named, "status": result.status.value, **({"error": result.error} if result.error else {})}
