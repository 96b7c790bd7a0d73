"""Triage: what keeps being found over a project's sessions, and what people did about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from projects.models import ApiKey, Project
from sessions.models import TrainSession

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User


class Status(models.TextChoices):
    OPEN = "open", "open"
    RESOLVED = "resolved", "resolved"
    MUTED = "muted", "muted"


class Substatus(models.TextChoices):
    """Why an open problem deserves a look. ``ONGOING`` does not: it is known and no worse."""

    NEW = "new", "new"
    REGRESSED = "regressed", "regressed"
    ESCALATING = "escalating", "escalating"
    ONGOING = "ongoing", "ongoing"


NEEDS_A_LOOK = (Substatus.NEW, Substatus.REGRESSED, Substatus.ESCALATING)
LARGEST_ID = 2**63 - 1


class ProblemQuerySet(models.QuerySet["Problem"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Self:
        """Problems of the projects that a request may see (`ProjectQuerySet.visible_to`)."""
        return self.filter(project__in=Project.objects.visible_to(user, key))

    def unmerged(self) -> Self:
        """Leave out those that became part of another."""
        return self.filter(merged_into=None)

    def followed(self, pks: Iterable[int]) -> Self:
        """Return the problems of these ids, in place of merged ones those that they became part of."""
        wanted = [pk for pk in pks if pk <= LARGEST_ID]
        return self.unmerged().filter(Q(pk__in=wanted) | Q(merged__in=wanted)).distinct()

    def inbox(self, user: User | AbstractBaseUser | AnonymousUser) -> Self:
        """What needs a look: new, back again, worse, or assigned to ``user``."""
        return self.unmerged().filter(needs_a_look(user))


def needs_a_look(user: User | AbstractBaseUser | AnonymousUser) -> Q:
    mine = Q(assignee=user.pk) if user.is_authenticated else Q(pk__in=[])
    return Q(status=Status.OPEN) & (Q(substatus__in=NEEDS_A_LOOK) | mine)


class Problem(models.Model):
    """Findings of one check on one pattern of layers, over all sessions of a project.

    ``status`` and ``substatus`` follow from the marks that people set (below) and from the sessions in order
    (`diagnostics.services.problems.standing`). They are kept here for lists, with the figures of the latest session.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="problems")
    fingerprint = models.CharField(max_length=64, editable=False)
    check_id = models.CharField(max_length=60)
    layer_pattern = models.CharField(max_length=500, blank=True)
    title = models.CharField(max_length=200)
    category = models.CharField(max_length=20)
    severity = models.CharField(max_length=10)
    caused_by = models.CharField(max_length=60, blank=True)

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    substatus = models.CharField(max_length=10, choices=Substatus.choices, default=Substatus.NEW, blank=True)
    changed = models.DateTimeField(default=now, help_text="When status or substatus changed last.")
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="assigned_problems"
    )

    session_count = models.PositiveIntegerField(default=0)
    first_session = models.ForeignKey(TrainSession, models.SET_NULL, null=True, blank=True, related_name="+")
    last_session = models.ForeignKey(TrainSession, models.SET_NULL, null=True, blank=True, related_name="+")
    first_seen = models.DateTimeField(null=True, blank=True, help_text="Start of the first session that shows it.")
    last_seen = models.DateTimeField(null=True, blank=True, help_text="Start of the last session that shows it.")

    # Marks. Times are compared with the starts of sessions: a session that was late to arrive keeps its place.
    fixed_after = models.DateTimeField(null=True, blank=True, help_text="Resolved for sessions started after this.")
    reopened = models.DateTimeField(null=True, blank=True, help_text="Clean sessions up to here resolve nothing.")
    reviewed = models.DateTimeField(null=True, blank=True, help_text="Somebody has looked at sessions up to here.")
    muted_after = models.DateTimeField(null=True, blank=True)
    muted_until = models.DateTimeField(null=True, blank=True)
    muted_sessions = models.PositiveSmallIntegerField(null=True, blank=True)
    muted_layers = models.JSONField(default=list, blank=True, help_text="Findings on these layers do not count.")
    merged_into = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="merged")

    objects = ProblemQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "fingerprint"], name="diagnostics_one_problem"),
            models.CheckConstraint(
                condition=(Q(status="open") & ~Q(substatus="")) | (~Q(status="open") & Q(substatus="")),
                name="diagnostics_only_open_problems_have_a_substatus",
            ),
        ]
        indexes = [models.Index(fields=["project", "status", "-last_seen"], name="diagnostics_triage_order")]

    def __str__(self) -> str:
        return f"{self.title} ({self.layer_pattern})" if self.layer_pattern else self.title

    def get_absolute_url(self) -> str:
        return f"/problems/{self.pk}"

    @property
    def standing(self) -> str:
        """The status in one word: open problems by their substatus."""
        return self.substatus or self.status


class Occurrence(models.Model):
    """A problem in a session. Diagnosing the session again replaces it, so that nothing counts twice."""

    problem = models.ForeignKey(Problem, models.CASCADE, related_name="occurrences")
    session = models.ForeignKey(TrainSession, models.CASCADE, related_name="problem_occurrences")
    started = models.DateTimeField(help_text="The session's start: the order of sessions.")
    severity = models.CharField(max_length=10)
    issue_count = models.PositiveIntegerField(default=1)
    epoch_index = models.IntegerField(null=True, blank=True, help_text="The first epoch concerned.")
    layer_count = models.PositiveIntegerField(default=0)
    layers = models.JSONField(default=list, blank=True, help_text="The first of the layers concerned.")

    class Meta:
        ordering = ["-started", "-session"]
        constraints = [models.UniqueConstraint(fields=["problem", "session"], name="diagnostics_one_occurrence")]
        indexes = [models.Index(fields=["problem", "-started"], name="diagnostics_occurrence_order")]

    def __str__(self) -> str:
        return f"problem {self.problem_id} in session {self.session_id}"


class Coverage(models.Model):
    """Which checks looked at a session. Without it, "not found" would be taken for "not there"."""

    session = models.OneToOneField(TrainSession, models.CASCADE, primary_key=True, related_name="coverage")
    project = models.ForeignKey(Project, models.CASCADE, related_name="+")
    started = models.DateTimeField()
    is_complete = models.BooleanField(default=False, help_text="It ran to its end: what was not found was not there.")
    checks = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["project", "-started", "-session"], name="diagnostics_coverage_order")]

    def __str__(self) -> str:
        return f"checks of session {self.session_id}"


class Act(models.TextChoices):
    FOUND = "found", "found it for the first time"
    REGRESSED = "regressed", "found it again"
    ESCALATED = "escalated", "saw it get worse"
    SUBSIDED = "subsided", "resolved it, as clean sessions followed"
    WITHDRAWN = "withdrawn", "resolved it: no session shows it any more"
    RESOLVED = "resolved", "resolved it"
    RESOLVED_NEXT = "resolved_next", "resolved it from the next session on"
    REOPENED = "reopened", "opened it again"
    MUTED = "muted", "muted it"
    REVIEWED = "reviewed", "looked at it"
    ASSIGNED = "assigned", "assigned it"
    MERGED = "merged", "merged it"
    UNMERGED = "unmerged", "took out"
    COMMENTED = "commented", "commented"


class Activity(models.Model):
    """Who did what to a problem, and when. Only ever added to. ``by`` is kept as text: accounts go, the log stays."""

    problem = models.ForeignKey(Problem, models.CASCADE, related_name="activity")
    created = models.DateTimeField(default=now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    by = models.CharField(max_length=150)
    act = models.CharField(max_length=20, choices=Act.choices)
    text = models.TextField(blank=True)
    session = models.ForeignKey(TrainSession, models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-created", "-pk"]
        verbose_name_plural = "activity"
        indexes = [models.Index(fields=["problem", "-created"], name="diagnostics_activity_order")]

    def __str__(self) -> str:
        return f"{self.by} {self.get_act_display()}"


class SavedSearch(models.Model):
    """A person's search among a project's problems. On an open server without accounts it is everybody's."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=1000, help_text="As in the address of the page.")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "saved searches"
        constraints = [
            models.UniqueConstraint(fields=["project", "user", "name"], name="diagnostics_one_search_of_a_name"),
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(user=None), name="diagnostics_one_open_search_of_a_name"
            ),
        ]

    def __str__(self) -> str:
        return self.name
