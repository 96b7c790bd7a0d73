"""What is usual for a project's tasks."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from diagnostics.engine import BASELINES
from projects.models import ApiKey, Baseline, Project
from projects.services.policy import checked_figures, figures, record_changes
from projects.services.refusals import Refused, Taken

SOURCE_LENGTH = 300
MOST_BASELINES = 200


@transaction.atomic
def declare_baseline(
    project: Project, name: str, given: Any, *, user: Any = None, key: ApiKey | None = None
) -> tuple[Baseline, bool]:
    """Store what is usual for the task ``name``, in the place of what was; return it and whether it is new.

    ``given`` is shaped as `diagnostics.engine.Baseline.from_mapping` reads it, with an optional ``source`` (text).
    Raises Refused with the path.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    source, rest = _source(given)
    usual = checked_figures(name.strip(), rest)
    if "/" in usual.name or not usual.name.isprintable():
        raise Refused("A baseline's name is part of an address: without slashes and control characters.", "$.name")
    old = project.baselines.filter(name=usual.name).first()
    if old is None and project.baselines.count() >= MOST_BASELINES:
        raise Refused(f"A project has at most {MOST_BASELINES} baselines.", "$.name")
    fields = {each: value for each, value in usual.as_dict().items() if each != "name"}
    made, created = Baseline.objects.update_or_create(
        project=project, name=usual.name, defaults={**fields, "source": source}
    )
    _record(project, made.name, old and figures(old), figures(made), user, key)
    return made, created


@transaction.atomic
def drop_baseline(project: Project, baseline: Baseline, *, user: Any = None, key: ApiKey | None = None) -> None:
    """Forget a baseline. Raises Taken for the one that the project's policy names."""
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if locked.baseline == baseline.name and baseline.name not in BASELINES:
        raise Taken("Sessions without a task are compared with it: choose another baseline for them first.")
    _record(project, baseline.name, figures(baseline), None, user, key)
    baseline.delete()


def _source(given: Any) -> tuple[str, Any]:
    if not isinstance(given, dict):
        return "", given
    source = given.get("source") or ""
    if not isinstance(source, str) or len(source) > SOURCE_LENGTH:
        raise Refused(f"source must be a text of at most {SOURCE_LENGTH} characters", "$.source")
    return source, {name: value for name, value in given.items() if name not in ("source", "name")}


def _record(project: Project, name: str, old: Any, new: Any, user: Any, key: ApiKey | None) -> None:
    setting = f"baselines.{name}"
    record_changes(project, {setting: old}, {setting: new}, user=user, key=key)
