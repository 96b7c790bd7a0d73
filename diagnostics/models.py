"""What was asked and what was found: diagnostic runs and their issues. The runs are also the queue of record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.utils.timezone import now

from diagnostics.problem_models import Activity, Coverage, Occurrence, Problem, SavedSearch
from projects.models import ApiKey, Project
from sessions.models import TrainSession

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

__all__ = [
    "Activity",
    "Coverage",
    "DiagnosticRun",
    "FoundIssue",
    "Occurrence",
    "Problem",
    "SavedSearch",
    "State",
    "Trigger",
]


class Trigger(models.TextChoices):
    """Why a run exists. A session has one automatic run, due again whenever news arrive; each request makes its own."""

    AUTOMATIC = "automatic", "automatic"
    REQUESTED = "requested", "requested"


class State(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"


class DiagnosticRunQuerySet(models.QuerySet["DiagnosticRun"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Self:
        """Runs of sessions that a request may see (`ProjectQuerySet.visible_to`)."""
        return self.filter(session__project__in=Project.objects.visible_to(user, key))

    def done(self) -> Self:
        return self.filter(state=State.DONE)

    def answered(self) -> Self:
        """Runs that have an answer to show: also an automatic run that is due or running once more."""
        return self.exclude(engine_version="")


class DiagnosticRun(models.Model):
    """One diagnosis of a session: first the order, then the answer.

    ``due`` counts the news that ask for it, ``seen`` is the count that the running or last diagnosis has
    covered: when ``due`` moved on meanwhile, the run is queued once more. ``claim`` is the token of the worker
    that holds the lease; only its holder may write the answer.
    """

    session = models.ForeignKey(TrainSession, models.CASCADE, related_name="diagnostic_runs")
    trigger = models.CharField(max_length=10, choices=Trigger.choices, default=Trigger.REQUESTED)
    created = models.DateTimeField(default=now)

    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    due = models.PositiveIntegerField(default=1)
    seen = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    claim = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True)
    queued = models.DateTimeField(default=now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    profile = models.CharField(max_length=10, default="robust")
    thresholds = models.JSONField(default=dict, blank=True)
    asked = models.JSONField(default=dict, blank=True, help_text="Settings that the order put over the project's.")
    engine_version = models.CharField(max_length=20, blank=True)
    epoch_count = models.PositiveIntegerField(default=0)
    health_score = models.PositiveSmallIntegerField(null=True, blank=True)
    issue_count = models.PositiveIntegerField(default=0)
    arch_type = models.CharField(max_length=20, blank=True)
    summary = models.JSONField(default=dict, blank=True)
    sustainability = models.JSONField(default=dict, blank=True)

    objects = DiagnosticRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=models.Q(trigger="automatic"), name="diagnostics_one_automatic_run"
            )
        ]
        indexes = [
            models.Index(fields=["state", "lease_until"], name="diagnostics_queue"),
            models.Index(fields=["session", "-created"], name="diagnostics_by_session"),
        ]

    def __str__(self) -> str:
        return f"diagnosis {self.pk} of {self.session_id}"


class FoundIssue(models.Model):
    """One finding of a diagnosis, as the engine's `IssueData`.

    Rows with a text in ``suppressed`` are evidence only: the guide's rule fired, the robust gate held it back.
    They are not counted and cost no points.
    """

    run = models.ForeignKey(DiagnosticRun, models.CASCADE, related_name="issues")
    position = models.PositiveIntegerField(help_text="Order in the report, most severe first.")
    check_id = models.CharField(max_length=60)
    severity = models.CharField(max_length=10)
    category = models.CharField(max_length=20)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    suggestion = models.TextField(blank=True)
    epoch_index = models.IntegerField(null=True, blank=True)
    layer_id = models.CharField(max_length=500, blank=True)
    metric_key = models.CharField(max_length=200, blank=True)
    metric_value = models.JSONField(null=True, blank=True)
    count = models.PositiveIntegerField(default=1)
    caused_by = models.CharField(max_length=60, blank=True)
    evidence = models.JSONField(default=dict, blank=True)
    suppressed = models.TextField(blank=True)
    fix = models.TextField(blank=True, help_text="Python code made of the run's own facts; empty if none can be.")

    class Meta:
        ordering = ["run", "position"]
        indexes = [models.Index(fields=["check_id", "severity"], name="diagnostics_by_check")]

    def __str__(self) -> str:
        return self.title


class LearnedNormal(models.Model):
    """What was normal in a project when it was learned: one version of its anomaly model.

    ``document`` is an `engine.anomaly.AnomalyModel`, plain numbers. ``healthy`` counts the healthy sessions that the
    project had then, of which the model has seen at most the newest: it tells when there are enough new ones.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="learned_normals")
    version = models.PositiveIntegerField()
    created = models.DateTimeField(default=now)
    sessions = models.PositiveIntegerField()
    epochs = models.PositiveIntegerField()
    healthy = models.PositiveIntegerField()
    document = models.JSONField()

    class Meta:
        ordering = ["project", "-version"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="diagnostics_one_normal_a_version")]

    def __str__(self) -> str:
        return f"anomaly model {self.version} of project {self.project_id}"
