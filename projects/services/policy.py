"""By what a project's sessions are judged: read, checked, changed, and who changed it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction

from diagnostics.engine import Baseline as Figures
from diagnostics.engine import InvalidSetting, Policy
from projects.models import ApiKey, PolicyChange, Project
from projects.services.refusals import Refused

COLUMNS = {
    "profile": "profile",
    "thresholds": "thresholds",
    "disable": "disabled_checks",
    "severity": "severities",
    "baseline": "baseline",
}
"""Settings as the API, ``mldiag.toml`` and the engine call them, and where a project keeps each."""
DEFAULTS: dict[str, Any] = {"profile": "robust", "thresholds": {}, "disable": [], "severity": {}, "baseline": ""}
BY_NAME = ("thresholds", "severity")


def policy_settings(project: Project) -> dict[str, Any]:
    """Return what the project has set, by the names of `Policy.from_mapping`."""
    return {name: getattr(project, column) for name, column in COLUMNS.items()}


def project_policy(project: Project, *, over: Mapping[str, Any] | None = None) -> Policy:
    """Return the project's policy, with the settings ``over`` put over it (thresholds and severities by name).

    Raises InvalidSetting (a ValueError) for what the engine of today does not understand.
    """
    settings = _merged(policy_settings(project), over or {})
    return Policy.from_mapping({**settings, "baselines": _declared(project)})


def replace_policy(project: Project, given: Any, *, user: Any = None, key: ApiKey | None = None) -> None:
    """Set a project's whole policy; what ``given`` does not name is the default. Raises Refused with the path."""
    _change(project, given, {}, user, key)


def amend_policy(project: Project, given: Any, *, user: Any = None, key: ApiKey | None = None) -> None:
    """Change what ``given`` names and keep the rest. Thresholds and severities are merged by name, None resets.

    Raises Refused with the path.
    """
    _change(project, given, None, user, key)


@transaction.atomic
def _change(
    project: Project,
    given: Any,
    base: Mapping[str, Any] | None,
    user: AbstractBaseUser | AnonymousUser | None,
    key: ApiKey | None,
) -> None:
    # Of two that change at once the second must merge into what the first has left.
    locked = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    before = policy_settings(locked)
    after = checked_settings(locked, _merged(before if base is None else base, given))
    for name, column in COLUMNS.items():
        setattr(locked, column, after[name])
        setattr(project, column, after[name])
    locked.save(update_fields=list(COLUMNS.values()))
    record_changes(locked, before, after, user=user, key=key)


def checked_settings(project: Project, given: Any) -> dict[str, Any]:
    """Return settings that can be used, complete and in order. Raises Refused with the path."""
    try:
        if not isinstance(given, Mapping):
            raise InvalidSetting("Settings must be an object.")
        if "baselines" in given:
            raise InvalidSetting("baselines have an address of their own", "baselines")
        policy = Policy.from_mapping({**given, "baselines": _declared(project)})
    except InvalidSetting as error:
        raise refusal(error)
    thresholds = given.get("thresholds") or {}
    return {
        "profile": str(policy.profile),
        "thresholds": {name: getattr(policy.thresholds, name) for name in sorted(thresholds)},
        "disable": sorted(policy.disabled),
        "severity": {check: str(severity) for check, severity in sorted(policy.severities.items())},
        "baseline": policy.baseline or "",
    }


def refusal(error: InvalidSetting) -> Refused:
    """Return what an API says of a setting that cannot be used."""
    return Refused(str(error), f"$.{error.place}" if error.place else "$")


def _merged(base: Mapping[str, Any], given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    merged = {**base, **given}
    for name in BY_NAME:
        own, new = base.get(name), given.get(name)
        if isinstance(new, Mapping):
            both = {**(own if isinstance(own, Mapping) else {}), **new}
            merged[name] = {key: value for key, value in both.items() if value is not None}
    return merged


def _declared(project: Project) -> dict[str, dict[str, Any]]:
    if project.pk is None:
        return {}
    return {each.name: figures(each) for each in project.baselines.all()}


def figures(row: Any) -> dict[str, Any]:
    """Return a stored baseline as the engine reads it."""
    return {name: getattr(row, name) for name in ("metric", "direction", "value", "epochs", "parameters")}


def checked_figures(name: str, given: Any) -> Figures:
    """Return the baseline that ``given`` describes. Raises Refused with the path."""
    try:
        return Figures.from_mapping(name, given)
    except InvalidSetting as error:
        raise refusal(error)


def record_changes(
    project: Project,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    user: Any = None,
    key: ApiKey | None = None,
) -> None:
    """Write down who changed what. Call it in the transaction that changes it."""
    author = _author(user, key)
    PolicyChange.objects.bulk_create(
        [
            PolicyChange(project=project, setting=setting[:250], old=old, new=new, **author)
            for setting, old, new in _differences(before, after)
        ]
    )


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from ((f"{name}.{inner}", one, other) for inner, one, other in _differences(old, new))
        elif _said(old) != _said(new):
            yield name, _said(old), _said(new)


def _said(value: Any) -> Any:
    # Nothing set and not set are the same; a threshold of zero is not.
    return None if value in ("", [], {}) else value


def _author(user: Any, key: ApiKey | None) -> dict[str, Any]:
    if key is not None:
        return {"by": f"key {key.prefix}… {key.name}".strip()[:200]}
    if user is None or not user.is_authenticated:
        return {"by": "somebody on this machine"}
    return {"user_id": user.pk, "by": user.get_username()[:200]}
