"""The shapes of problems in the API, and the form of what shall be done to them, on pages too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import reverse
from rest_framework import serializers

from diagnostics.problem_models import LARGEST_ID, Act, Activity, Problem, SavedSearch, Status, Substatus
from diagnostics.services.problems import (
    AT_ONCE,
    CATEGORIES,
    MOST_MUTED_SESSIONS,
    SEVERITIES,
    SORTS,
    STATES,
    Action,
    Order,
)
from diagnostics.services.problems.saving import NAME_LENGTH, QUERY_LENGTH


class SearchIn(serializers.Serializer):
    project = serializers.IntegerField(required=False, max_value=LARGEST_ID)
    status = serializers.ChoiceField(STATES, default="all", help_text='"inbox" is what needs a look.')
    severity = serializers.ChoiceField(SEVERITIES, required=False)
    check = serializers.CharField(required=False, help_text="Id of a check.")
    category = serializers.ChoiceField(CATEGORIES, required=False)
    assignee = serializers.CharField(required=False, help_text='A user\'s name, "me" or "none".')
    q = serializers.CharField(required=False, help_text="Text in the title, the check or the layers.")
    sort = serializers.ChoiceField(list(SORTS), default="severity")


class RateOut(serializers.Serializer):
    """In how many (``shown``) of the latest sessions in which its check looked (``looked``) a problem was."""

    shown = serializers.IntegerField()
    looked = serializers.IntegerField()


class ProblemOut(serializers.ModelSerializer):
    url = serializers.SerializerMethodField()
    project_id = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    substatus = serializers.SerializerMethodField()
    severity = serializers.ChoiceField(SEVERITIES)
    category = serializers.ChoiceField(CATEGORIES)
    assignee = serializers.CharField(source="assignee.username", default=None, allow_null=True)
    first_session_id = serializers.IntegerField(allow_null=True)
    last_session_id = serializers.IntegerField(allow_null=True)
    merged_into = serializers.IntegerField(source="merged_into_id", allow_null=True)
    merged = serializers.PrimaryKeyRelatedField(many=True, read_only=True, help_text="What became part of it.")
    recent = serializers.SerializerMethodField()

    class Meta:
        model = Problem
        fields = [
            "id",
            "url",
            "project_id",
            "check_id",
            "layer_pattern",
            "title",
            "severity",
            "category",
            "caused_by",
            "status",
            "substatus",
            "changed",
            "assignee",
            "session_count",
            "first_session_id",
            "last_session_id",
            "first_seen",
            "last_seen",
            "recent",
            "muted_until",
            "muted_sessions",
            "muted_layers",
            "merged_into",
            "merged",
        ]

    def get_url(self, problem: Problem) -> str:
        return str(self.context["request"].build_absolute_uri(problem.get_absolute_url()))

    # A method, since what is not open has none.
    def get_substatus(self, problem: Problem) -> Substatus | None:
        return Substatus(problem.substatus) if problem.substatus else None

    def get_recent(self, problem: Problem) -> RateOut:
        rate = self.context["rates"][problem.pk]
        return {"shown": rate.shown, "looked": rate.looked}  # type: ignore[return-value]


class ActivityOut(serializers.ModelSerializer):
    act = serializers.ChoiceField(Act.choices)
    session_id = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Activity
        fields = ["id", "created", "by", "act", "text", "session_id"]


class CommentIn(serializers.Serializer):
    text = serializers.CharField(max_length=10_000)


class SavedSearchOut(serializers.ModelSerializer):
    url = serializers.SerializerMethodField()

    class Meta:
        model = SavedSearch
        fields = ["id", "name", "query", "url"]

    def get_url(self, search: SavedSearch) -> str:
        page = reverse("project_problems", args=[search.project_id])
        return str(self.context["request"].build_absolute_uri(f"{page}?{search.query}"))


class SavedSearchIn(serializers.Serializer):
    name = serializers.CharField(max_length=NAME_LENGTH)
    query = serializers.CharField(
        max_length=QUERY_LENGTH, allow_blank=True, help_text='As in the address of the page: "status=open&q=conv".'
    )


class OrderIn(serializers.Serializer):
    """What to do to problems."""

    action = serializers.ChoiceField([str(each) for each in Action])
    until = serializers.DateTimeField(required=False, allow_null=True, help_text="Mute until a session after this.")
    sessions = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_MUTED_SESSIONS, help_text="Mute for so many."
    )
    layer = serializers.CharField(required=False, allow_blank=True, max_length=500, help_text="Mute this one only.")
    assignee = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=150, help_text='A user\'s name or "me".'
    )
    text = serializers.CharField(required=False, allow_blank=True, max_length=10_000, help_text="A comment.")
    into = serializers.IntegerField(
        required=False, allow_null=True, max_value=LARGEST_ID, help_text="Merge into this one, else the oldest."
    )
    part = serializers.IntegerField(
        required=False, allow_null=True, max_value=LARGEST_ID, help_text="Unmerge this one, else all."
    )

    def order(self) -> Order:
        fields = {name: value for name, value in self.validated_data.items() if name != "ids"}
        return Order(**fields)


class BulkIn(OrderIn):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=LARGEST_ID), min_length=1, max_length=AT_ONCE
    )


class BulkOut(serializers.Serializer):
    changed = serializers.IntegerField()


class ProblemPatch(serializers.Serializer):
    """How a problem shall be. What is left out stays."""

    status = serializers.ChoiceField(Status.choices, required=False)
    from_next_session = serializers.BooleanField(
        required=False, default=False, help_text="Resolved from the next session on: the present ones may show it."
    )
    muted_until = serializers.DateTimeField(required=False, allow_null=True)
    muted_sessions = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_MUTED_SESSIONS
    )
    muted_layer = serializers.CharField(required=False, max_length=500)
    assignee = serializers.CharField(required=False, allow_null=True, max_length=150)
    reviewed = serializers.BooleanField(required=False, default=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if {"muted_until", "muted_sessions", "muted_layer"} & attrs.keys() and attrs.get("status") != Status.MUTED:
            raise serializers.ValidationError({"status": 'How to mute goes with the status "muted".'})
        return attrs

    def orders(self) -> Iterator[Order]:
        said = self.validated_data
        status = said.get("status")
        if status == Status.RESOLVED:
            yield Order(action=Action.RESOLVE_NEXT if said["from_next_session"] else Action.RESOLVE)
        elif status == Status.OPEN:
            yield Order(action=Action.REOPEN)
        elif status == Status.MUTED:
            yield Order(
                action=Action.MUTE,
                until=said.get("muted_until"),
                sessions=said.get("muted_sessions"),
                layer=said.get("muted_layer", ""),
            )
        if "assignee" in said:
            yield Order(action=Action.ASSIGN, assignee=said["assignee"])
        if said["reviewed"]:
            yield Order(action=Action.REVIEW)
