"""Who may see what: projects, their members and the keys of their programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.timezone import now

if TYPE_CHECKING:
    from django.contrib.auth.models import User

DEFAULT_PROJECT_ID = 1
"""Made by a migration, so that ``Observer(project_id=1)`` works on a fresh server."""


class Profile(models.TextChoices):
    """How a project's sessions are judged: see `diagnostics.engine`."""

    ROBUST = "robust", "robust: rules with an evidence gate"
    GUIDE = "guide", "guide: rules taken literally"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User | AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Self:
        """Projects that a request may see: a key sees its own, a user those they are a member of.

        In the access mode ``open`` whoever reaches the server may see everything.
        """
        return self.filter(in_visible_project("pk", user, key))


def in_visible_project(
    field: str, user: User | AbstractBaseUser | AnonymousUser, key: ApiKey | None = None
) -> models.Q:
    """Return the condition that ``field``, the number of a project, is that of one that a request may see.

    Beside a table of what belongs to projects it spares the database the table of projects itself.
    """
    if key is not None:
        return models.Q(**{field: key.project_id})
    if settings.MLDIAG_AUTH == "open" or getattr(user, "is_superuser", False):
        return models.Q()
    if not user.is_authenticated:
        return models.Q(pk__in=[])
    return models.Q(**{f"{field}__in": Membership.objects.filter(user=user.pk).values("project")})


class Project(models.Model):
    """A line of work whose training sessions belong together."""

    name = models.CharField(max_length=200, unique=True)
    description = models.TextField(blank=True)
    created = models.DateTimeField(default=now, editable=False)
    members: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="projects"
    )
    profile = models.CharField(max_length=10, choices=Profile.choices, default=Profile.ROBUST)
    thresholds = models.JSONField(default=dict, blank=True, help_text="Thresholds that differ from the defaults.")
    disabled_checks = models.JSONField(
        default=list, blank=True, help_text="Ids of checks, and categories, that are switched off."
    )
    severities = models.JSONField(default=dict, blank=True, help_text="Severities that differ, by id of the check.")
    baseline = models.CharField(
        max_length=100, blank=True, help_text="Baseline of sessions that name no task; empty for none."
    )
    resolve_after = models.PositiveSmallIntegerField(
        default=3,
        validators=[MaxValueValidator(50)],
        help_text="A problem is resolved after so many sessions without it in a row; 0: only by people.",
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return f"/projects/{self.pk}"


class Role(models.TextChoices):
    OWNER = "owner", "owner"
    MEMBER = "member", "member"


class Membership(models.Model):
    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="projects_one_membership_each")]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class KeyKind(models.TextChoices):
    INGEST = "ing", "ingest: writes runs, reads nothing"
    READ = "ro", "read only"
    FULL = "rw", "read and write"


class ApiKey(models.Model):
    """A program's key to one project. The key itself is shown once and never stored.

    Found by its public ``prefix``; ``digest`` is HMAC-SHA256 of the whole key under the server's secret.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="api_keys")
    kind = models.CharField(max_length=3, choices=KeyKind.choices, default=KeyKind.INGEST)
    name = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=20, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    created = models.DateTimeField(default=now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    last_used = models.DateTimeField(null=True, blank=True, editable=False)
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.get_kind_display()})"


class Baseline(models.Model):
    """What is usual for a task of a project: see `diagnostics.engine.Baseline`. Of a pinned session, a snapshot."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="baselines")
    name = models.CharField(max_length=100, help_text="The task that sessions name.")
    metric = models.CharField(max_length=100, default="accuracy")
    direction = models.CharField(max_length=10, choices=[("higher", "higher"), ("lower", "lower")], blank=True)
    value = models.FloatField()
    epochs = models.PositiveBigIntegerField(null=True, blank=True)
    parameters = models.PositiveBigIntegerField(null=True, blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where the figures come from.")
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="projects_one_baseline_per_task")]

    def __str__(self) -> str:
        return self.name


class PolicyChange(models.Model):
    """One setting of a project that somebody changed. Rows are only ever added."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="policy_changes")
    at = models.DateTimeField(default=now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    by = models.CharField(max_length=200, help_text="Who it was, also when the account is gone.")
    setting = models.CharField(max_length=250, help_text="As thresholds.loss_explosion_ratio.")
    old = models.JSONField(null=True, blank=True)
    new = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["project", "-at", "-id"], name="projects_policy_history")]

    def __str__(self) -> str:
        return f"{self.setting} of {self.project_id}"
