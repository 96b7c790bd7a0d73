"""What the API says: pages of a list, errors, projects and keys."""

from __future__ import annotations

import logging
from typing import Any

from django.db import InterfaceError, OperationalError
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from observer_client.record import plain
from projects.models import ApiKey, Baseline, KeyKind, PolicyChange, Profile, Project
from projects.services import NAME_LENGTH, NotAllowed, NotFound, Refused, Taken

logger = logging.getLogger(__name__)

RETRY_SECONDS = "5"


class Pages(PageNumberPagination):
    """``?page=`` and ``?page_size=`` (at most 500)."""

    page_size_query_param = "page_size"
    max_page_size = 500


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer every refusal as ``{"detail": sentence, "path": where}``.

    A database that is gone is no refusal: 503 asks the client to come again. Faults of ours are not caught.
    """
    for kind, code in ((NotFound, 404), (NotAllowed, 403), (Taken, 409), (Refused, 400)):
        if isinstance(error, kind):
            return Response(_body(str(error), getattr(error, "path", None)), status=code)
    if isinstance(error, (OperationalError, InterfaceError)):
        logger.error("The database did not answer: %s", error)
        set_rollback()
        body = _body("The database does not answer. Try again.", None)
        return Response(body, status=503, headers={"Retry-After": RETRY_SECONDS})
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, ValidationError):
        path, sentence = _first(error.get_full_details(), "$")
        response.data = _body(sentence, path)
    elif isinstance(error, APIException):
        response.data = _body(str(error.detail), getattr(error, "path", None))
    return response


def _body(sentence: str, path: str | None) -> dict[str, str]:
    return {"detail": sentence, **({"path": path} if path else {})}


def _first(details: Any, path: str) -> tuple[str, str]:
    """Return where the first error is, and its sentence. Items of a list without an error are empty."""
    if isinstance(details, list):
        index, inner = next((index, each) for index, each in enumerate(details) if each)
        return _first(inner, path if "message" in inner else f"{path}[{index}]")
    if "message" in details and "code" in details:
        return path, str(details["message"])
    name, inner = next(iter(details.items()))
    place = f"[{name}]" if isinstance(name, int) else f".{name}"
    return _first(inner, path if name == "non_field_errors" else f"{path}{place}")


class ErrorOut(serializers.Serializer):
    detail = serializers.CharField()
    path = serializers.CharField(required=False, help_text="Where in the request, as $.epochs[0].loss.")


class PlainJSONField(serializers.JSONField):
    """JSON in an answer, with NaN and infinity spelled."""

    def to_representation(self, value: Any) -> Any:
        return plain(value)


class ProjectIn(serializers.Serializer):
    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(required=False, allow_blank=True, max_length=10_000, default="")


class ProjectOut(serializers.ModelSerializer):
    url = serializers.SerializerMethodField()

    class Meta:
        model = Project
        fields = ["id", "name", "description", "profile", "created_at", "url"]

    created_at = serializers.DateTimeField(source="created")

    def get_url(self, project: Project) -> str:
        return str(self.context["request"].build_absolute_uri(project.get_absolute_url()))


class PolicySettings(serializers.Serializer):
    """By what sessions are judged. Everything is optional; the engine says what is wrong with it."""

    profile = serializers.ChoiceField(Profile.choices, required=False, allow_null=True)
    thresholds = serializers.JSONField(required=False, help_text="Numbers by name of the threshold.")
    disable = serializers.JSONField(required=False, help_text="Ids of checks, and categories, to leave out.")
    severity = serializers.JSONField(required=False, help_text="critical, warning or info by id of the check.")
    baseline = serializers.CharField(required=False, allow_blank=True, allow_null=True)


class PolicyChangeOut(serializers.ModelSerializer):
    class Meta:
        model = PolicyChange
        fields = ["id", "at", "by", "setting", "old", "new"]


class BaselineIn(serializers.Serializer):
    """What is usual for a task; direction and metric have defaults, the rest may be unknown."""

    value = serializers.FloatField()
    metric = serializers.CharField(required=False, help_text='"accuracy", "loss", "train_loss" or a validation metric.')
    direction = serializers.ChoiceField(["higher", "lower"], required=False)
    epochs = serializers.IntegerField(required=False, allow_null=True)
    parameters = serializers.IntegerField(required=False, allow_null=True)
    source = serializers.CharField(required=False, allow_blank=True)


class BaselineOut(serializers.ModelSerializer):
    class Meta:
        model = Baseline
        fields = ["name", "metric", "direction", "value", "epochs", "parameters", "source", "created"]


class KeyIn(serializers.Serializer):
    kind = serializers.ChoiceField(choices=KeyKind.choices, default=KeyKind.INGEST)
    name = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    expires = serializers.DateTimeField(required=False, allow_null=True, default=None)


class KeyOut(serializers.ModelSerializer):
    class Meta:
        model = ApiKey
        fields = ["id", "prefix", "kind", "name", "created", "last_used", "expires", "revoked"]


class NewKeyOut(KeyOut):
    key = serializers.CharField(help_text="The key itself, said this once.")

    class Meta(KeyOut.Meta):
        fields = [*KeyOut.Meta.fields, "key"]
