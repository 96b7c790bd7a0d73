"""What was observed: sessions, their windows, their model and their logs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import msgspec
from django.db import models
from django.utils.timezone import now

from observer_client.record import Architecture, Epoch
from projects.models import ApiKey, Project, in_visible_project

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User


class SessionStatus(models.TextChoices):
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"
    CRASHED = "crashed", "crashed"
    KILLED = "killed", "killed"


class Liveness(models.TextChoices):
    """What becomes of a session that is running by its last word, if it is not heard of as it promised."""

    STALLED = "stalled", "stalled"
    LOST = "lost", "lost"


GRACE = timedelta(seconds=60)
LEAST_SILENCE = timedelta(minutes=5)
UNPROMISED_SILENCE = timedelta(days=1)
"""Silence of a session whose program never said when it would be heard of again."""


class TrainSessionQuerySet(models.QuerySet["TrainSession"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Self:
        """Sessions of the projects that a request may see (`ProjectQuerySet.visible_to`)."""
        return self.filter(in_visible_project("project_id", user, key))

    def running(self) -> Self:
        return self.filter(status=SessionStatus.RUNNING)

    def kept(self) -> Self:
        """Sessions that nobody has put away."""
        return self.filter(archived=None)

    def silent(self) -> Self:
        """Running sessions that may be lost, and of whose present silence nobody was told yet."""
        quiet = self.running().filter(last_seen__lt=now() - LEAST_SILENCE)
        return quiet.filter(models.Q(silence_told=None) | models.Q(silence_told__lt=models.F("last_seen")))


SORTED_BY = (
    "health_score",
    "train_loss",
    "val_loss",
    "critical_count",
    "warning_count",
    "info_count",
    "epoch_count",
    "co2_kg",
    "energy_kwh",
    "last_seen",
)
"""Figures of a session by which lists of sessions are sorted."""


class TrainSession(models.Model):
    """One training run. ``key`` is made by the client, so that the same run never becomes two sessions."""

    # Without an index of its own, as further down: another begins with it.
    project = models.ForeignKey(Project, models.CASCADE, related_name="sessions", db_index=False)
    key = models.UUIDField(unique=True, default=uuid4, editable=False)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=SessionStatus.choices, default=SessionStatus.RUNNING)
    reason = models.TextField(blank=True, help_text="Why it ended, when it crashed or was killed.")
    hyperparameters = models.JSONField(default=dict, blank=True)
    environment = models.JSONField(default=dict, blank=True)
    config = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=list, blank=True)
    started = models.DateTimeField(default=now)
    finished = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(default=now)
    expect_next_in = models.FloatField(null=True, blank=True, help_text="Seconds until the client's next sign of life.")

    step = models.PositiveBigIntegerField(null=True, blank=True, help_text="How many steps the client has told of.")
    progressed = models.DateTimeField(default=now, help_text="When a step or an epoch was last added.")
    attempt = models.PositiveIntegerField(default=0, help_text="How often the run was resumed.")
    silence_told = models.DateTimeField(null=True, blank=True, help_text="When a diagnosis was asked for its silence.")

    # Figures that lists and charts need, kept by the services that store the rows they sum up.
    epoch_count = models.PositiveIntegerField(default=0)
    log_count = models.PositiveIntegerField(default=0)
    train_loss = models.FloatField(null=True, blank=True)
    val_loss = models.FloatField(null=True, blank=True)
    non_finite = models.JSONField(
        default=dict, blank=True, help_text="Which of the losses were last NaN or infinite, spelled as on the wire."
    )
    co2_kg = models.FloatField(null=True, blank=True)
    energy_kwh = models.FloatField(null=True, blank=True)
    metrics = models.JSONField(default=dict, blank=True, help_text="Latest finite value of each metric but the losses.")
    duration_seconds = models.FloatField(default=0.0, blank=True, help_text="From start to end, or to the last epoch.")
    archived = models.DateTimeField(null=True, blank=True, help_text="Since when lists leave it out.")

    # The latest verdict, written from above by whoever diagnoses: a list of sessions shows it without a join.
    health_score = models.PositiveSmallIntegerField(null=True, blank=True)
    critical_count = models.PositiveIntegerField(default=0)
    warning_count = models.PositiveIntegerField(default=0)
    info_count = models.PositiveIntegerField(default=0)
    diagnosed = models.DateTimeField(null=True, blank=True)

    objects = TrainSessionQuerySet.as_manager()

    class Meta:
        ordering = ["-started", "-pk"]
        indexes = [
            # What lists show first, count and search: answered from the index alone. That a list leaves out what is
            # archived stands behind what it is ordered by, since no database takes the condition for part of an order.
            models.Index(fields=["project", "-started", "-id", "archived", "status", "name"], name="training_by_start"),
            models.Index(fields=["project", "duration_seconds", "id", "archived"], name="training_by_duration"),
            # What else lists are sorted by: a look at each session's entry, by turns as the sessions themselves lie.
            models.Index(fields=["project", "archived", "id", *SORTED_BY], name="training_figures"),
            # The home page asks for the few that are running, among all that ever ran.
            models.Index(fields=["status", "-last_seen"], name="training_by_status"),
            # The running ones, few among many: their metrics stand in no index (`SessionEntry`).
            # NULL, since SQLite takes no index of a condition for one whose value it is told later.
            models.Index(fields=["project", "archived"], condition=models.Q(finished=None), name="training_unfinished"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"/sessions/{self.pk}"

    @property
    def allowed_silence(self) -> timedelta:
        """How long nothing may be heard of the run: what it promised and a minute, five minutes at least."""
        if self.expect_next_in is None:
            return UNPROMISED_SILENCE
        return max(timedelta(seconds=self.expect_next_in) + GRACE, LEAST_SILENCE)

    @property
    def state(self) -> str:
        """The status; for a running session ``lost`` when it is overdue, ``stalled`` when it lives and makes no step.

        Derived, never stored: a session that is heard of again is running again.
        """
        if self.status != SessionStatus.RUNNING:
            return self.status
        if now() - self.last_seen > self.allowed_silence:
            return Liveness.LOST.value
        # A program that tells no steps makes none that could be missed.
        is_stuck = bool(self.step) and now() - self.progressed > self.allowed_silence
        return Liveness.STALLED.value if is_stuck else self.status


class EntryKind(models.TextChoices):
    TAG = "tag", "tag"
    HYPERPARAMETER = "hp", "hyperparameter"
    METRIC = "metric", "metric"


class SessionEntry(models.Model):
    """A tag, a hyperparameter or a metric of a session once more: what a list is narrowed to and sorted by.

    An index finds it, where the documents of the session would all have to be read. `sessions.services.entries`
    writes it; metrics only once the session has ended, since a running one changes them with each epoch.
    """

    session = models.ForeignKey(TrainSession, models.CASCADE, related_name="entries", db_index=False)
    project = models.ForeignKey(Project, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=6, choices=EntryKind.choices)
    name = models.CharField(max_length=200)
    is_archived = models.BooleanField(default=False)
    number = models.FloatField(
        help_text="The value; of a tag the start of its session; of a text more than any number."
    )
    text = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name_plural = "session entries"
        constraints = [models.UniqueConstraint(fields=["session", "kind", "name"], name="training_one_entry_per_name")]
        indexes = [
            models.Index(
                fields=["project", "kind", "name", "is_archived", "number", "text", "session"], name="training_by_entry"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.session_id}"


class TrainStep(models.Model):
    """One window (usually an epoch), kept as it was sent.

    ``payload`` is the JSON text of the record, the truth for API and pages: text and not a JSON column, since
    reading it back costs PostgreSQL less and no character of it can be refused. ``packed`` holds its numbers
    (`observer_client.packed`), which is all that a diagnosis reads. Scalar columns hold NULL where the value
    was not logged or not finite; ``non_finite`` tells the two apart.
    """

    session = models.ForeignKey(TrainSession, models.CASCADE, related_name="steps", db_index=False)
    epoch = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=0)
    packed = models.BinaryField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the payload: tells a re-send from a conflict.")
    received = models.DateTimeField(default=now)
    non_finite = models.BooleanField(default=False)
    duration_seconds = models.FloatField(null=True)
    train_loss = models.FloatField(null=True)
    val_loss = models.FloatField(null=True)
    learning_rate = models.FloatField(null=True)
    samples_per_second = models.FloatField(null=True)
    process_rss_mb = models.FloatField(null=True)
    co2_kg = models.FloatField(null=True)
    energy_kwh = models.FloatField(null=True)
    # Last: SQLite reads a row from its start, and what stands behind a long text only through all of it.
    payload = models.TextField()

    class Meta:
        ordering = ["session", "epoch"]
        constraints = [
            # A client that sends again must not log an epoch twice.
            models.UniqueConstraint(fields=["session", "epoch"], name="training_one_step_per_epoch")
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch} of {self.session_id}"

    def record(self) -> Epoch:
        """Return what the client sent."""
        return msgspec.json.decode(self.payload, type=Epoch, strict=False)


class Model(models.Model):
    """The network that a session trains."""

    session = models.OneToOneField(TrainSession, models.CASCADE, related_name="model")
    model_class = models.CharField(max_length=200, blank=True)
    total_parameters = models.BigIntegerField(default=0)
    architecture = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return self.model_class or f"model of {self.session_id}"

    def record(self) -> Architecture:
        return msgspec.convert(self.architecture, Architecture, strict=False)


class SessionLog(models.Model):
    """One line of a session's log."""

    session = models.ForeignKey(TrainSession, models.CASCADE, related_name="logs", db_index=False)
    seq = models.PositiveBigIntegerField()
    ts = models.DateTimeField(null=True, blank=True)
    level = models.CharField(max_length=20, default="INFO")
    kind = models.CharField(max_length=20, default="console")
    logger = models.CharField(max_length=200, blank=True)
    msg = models.TextField()

    class Meta:
        ordering = ["session", "seq"]
        constraints = [models.UniqueConstraint(fields=["session", "seq"], name="training_one_line_per_seq")]

    def __str__(self) -> str:
        return f"{self.level}: {self.msg[:80]}"
