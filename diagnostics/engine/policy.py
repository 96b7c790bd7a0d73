"""By what a run is judged: profile, thresholds, what is switched off, severities, baselines.

The same names everywhere: ``mldiag.toml``, the API and the settings page of a project, and the summary of a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from diagnostics.engine.baseline import SHIPPED, Baseline, find_baseline, task_name
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.refusals import InvalidSetting, alike, refuse_unknown
from diagnostics.engine.registry import CHECKS, Profile
from diagnostics.engine.report import Report, diagnose
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DEFAULTS, DiagnosticThresholds

KEYS = ("profile", "thresholds", "disable", "severity", "baseline", "baselines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How runs are to be judged. ``baselines`` are those there are, by name, ``baseline`` names the one for runs that
    name no task of their own. Make one with `from_mapping`, which checks everything."""

    profile: Profile = Profile.robust
    thresholds: DiagnosticThresholds = DEFAULTS
    disabled: frozenset[str] = frozenset()
    severities: Mapping[str, IssueSeverity] = field(default_factory=dict)
    baseline: str | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=lambda: SHIPPED)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Self:
        """Return the policy that ``given`` describes (as read from JSON or TOML); what is missing is the default.

        ``{"profile": "guide", "thresholds": {"loss_explosion_ratio": 3}, "disable": ["slow-epoch", "memory"],
        "severity": {"overfitting": "critical"}, "baseline": "mnist_cnn", "baselines": {"digits": {"value": 0.97}}}``

        Raises InvalidSetting with the path of the first setting that cannot be used.
        """
        if not isinstance(given, Mapping):
            raise InvalidSetting("settings must be an object")
        refuse_unknown(given, KEYS, "setting")
        try:
            thresholds = DiagnosticThresholds.from_mapping(_given(given, "thresholds", {}))
        except InvalidSetting as error:
            raise error.within("thresholds") from None
        baselines = SHIPPED | _baselines(_given(given, "baselines", {}))
        baseline = given.get("baseline") or None
        if baseline is not None:
            find_baseline(_text(baseline, "baseline"), baselines)
        return cls(
            profile=_profile(_given(given, "profile", Profile.robust)),
            thresholds=thresholds,
            disabled=_disabled(_given(given, "disable", ())),
            severities=_severities(_given(given, "severity", {})),
            baseline=baseline,
            baselines=baselines,
        )

    def baseline_of(self, hyperparameters: Mapping[str, Any], tags: object = ()) -> Baseline | None:
        """Return what a run is compared with. One that names a task is compared with that task's baseline only."""
        return self.baselines.get(task_name(hyperparameters, tags) or self.baseline or "")

    def diagnose(self, run: Run, tags: object = ()) -> Report:
        """Judge ``run`` by this policy."""
        return diagnose(
            run,
            thresholds=self.thresholds,
            profile=self.profile,
            disabled=self.disabled,
            severities=self.severities,
            baseline=self.baseline_of(run.hyperparameters, tags),
        )


def _given(settings: Mapping[str, Any], key: str, default: Any) -> Any:
    value = settings.get(key)
    return default if value is None else value


def _text(value: object, *path: str | int) -> str:
    if not isinstance(value, str):
        raise InvalidSetting(f"must be a name, not {value!r}", *path)
    return value


def _profile(name: object) -> Profile:
    if name not in list(Profile):
        raise InvalidSetting(f"unknown profile {name!r}; there are {', '.join(Profile)}", "profile")
    return Profile(str(name))


def _disabled(names: object) -> frozenset[str]:
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise InvalidSetting("must be a list of ids of checks, or of categories", "disable")
    known = [*CHECKS, *IssueCategory]
    for index, name in enumerate(names):
        if _text(name, "disable", index) not in known:
            raise InvalidSetting(f"there is no check or category {name!r}{alike(name, known)}", "disable", index)
    return frozenset(names)


def _severities(chosen: object) -> dict[str, IssueSeverity]:
    if not isinstance(chosen, Mapping):
        raise InvalidSetting("must be an object of severities by id of the check", "severity")
    try:
        refuse_unknown(chosen, CHECKS, "check")
    except InvalidSetting as error:
        raise error.within("severity") from None
    for check, severity in chosen.items():
        if severity not in list(IssueSeverity):
            there = ", ".join(IssueSeverity)
            raise InvalidSetting(f"unknown severity {severity!r}; there are {there}", "severity", check)
    return {check: IssueSeverity(severity) for check, severity in chosen.items()}


def _baselines(declared: object) -> dict[str, Baseline]:
    if not isinstance(declared, Mapping):
        raise InvalidSetting("must be an object of baselines by name of the task", "baselines")
    made: dict[str, Baseline] = {}
    for name, given in declared.items():
        try:
            made[name] = Baseline.from_mapping(name, given)
        except InvalidSetting as error:
            raise error.within("baselines", name) from None
    return made
