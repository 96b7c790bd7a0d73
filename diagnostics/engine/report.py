"""Judges a run: all checks, one report.

The score is the guide's formula (3.4) over the reported issues, in both profiles alike. What the robust profile reports
is grouped (one issue per check and layer, with a count) and says of each symptom which cause it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

import numpy as np

from diagnostics.engine.baseline import Baseline
from diagnostics.engine.causes import cause_first, explain, hold_back_anomalies
from diagnostics.engine.checks import anomaly
from diagnostics.engine.fixes import write_fixes
from diagnostics.engine.insight import (
    EpochTrend,
    LayerHighlight,
    SustainabilityInsight,
    epoch_trends,
    layer_highlights,
    severity_breakdown,
    sustainability,
)
from diagnostics.engine.issue import IssueCategory, IssueData, IssueSeverity, compute_health_score
from diagnostics.engine.registry import CHECKS, Profile
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DEFAULTS, DiagnosticThresholds
from observer_client.record import Architecture, Epoch, LogLine

ENGINE_VERSION = "1.4.0"
"""Raised when the same run may be judged differently than before."""

_NAMES = tuple(each.name for each in fields(DiagnosticThresholds))
_VALUES = attrgetter(*_NAMES)
_USUAL = _VALUES(DEFAULTS)


@dataclass(frozen=True, slots=True)
class Report:
    """What `diagnose` found.

    ``issues`` is what is reported and scored: gravest first, a cause before what follows from it and as grave as that,
    then by epoch.
    ``suppressed`` is what the guide's rules found and the robust profile held back, each with its reason. ``skipped``
    names the checks that could not look, with the columns they missed: not looked at is not healthy.
    """

    health_score: int
    arch_type: str
    issues: list[IssueData]
    suppressed: list[IssueData]
    skipped: dict[str, list[str]]
    epoch_trends: list[EpochTrend]
    session_level_issues: list[IssueData]
    layer_highlights: list[LayerHighlight]
    sustainability: SustainabilityInsight
    summary: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what `POST /diagnostics/sessions/{id}/run` answers (guide 8), less what the database adds. JSON-safe:
        non-finite numbers are spelled."""
        return {
            "health_score": self.health_score,
            "issue_count": len(self.issues),
            "arch_type": self.arch_type,
            "summary_json": self.summary,
            "issues": [issue.as_dict() for issue in self.issues],
            "epoch_trends": [trend.as_dict() for trend in self.epoch_trends],
            "session_level_issues": [issue.as_dict() for issue in self.session_level_issues],
            "layer_highlights": [highlight.as_dict() for highlight in self.layer_highlights],
            "sustainability": self.sustainability.as_dict(),
        }


# What overflows is infinite, and compared so (`Check.__call__`).
@np.errstate(over="ignore", invalid="ignore")
def diagnose(
    run: Run,
    *,
    thresholds: DiagnosticThresholds | None = None,
    profile: str = Profile.robust,
    disabled: Collection[str] = frozenset(),
    severities: Mapping[str, IssueSeverity] | None = None,
    baseline: Baseline | None = None,
) -> Report:
    """Run every check on ``run``.

    ``profile`` is "robust" or "guide". ``disabled`` holds ids of checks, or categories, to leave out. ``severities``
    says by id how grave what a check finds shall be, also for the score. ``baseline`` is what the run is compared
    with. Raises ValueError for a profile or an id that does not exist.
    """
    limits, judged_by, chosen = thresholds or DEFAULTS, parse_profile(profile), severities or {}
    _refuse_unknown({*disabled, *chosen})
    if baseline is not None:
        run = replace(run, baseline=baseline)
    found: list[IssueData] = []
    skipped: dict[str, list[str]] = {}
    ran = 0
    for check in CHECKS.values():
        if check.id in disabled or check.category in disabled:
            continue
        if missing := check.missing(run):
            skipped[check.id] = missing
            continue
        ran += 1
        found += check.found(run, limits, judged_by)
    _set_severities(found, chosen)
    reported = [issue for issue in found if issue.suppressed is None]
    explain(reported)
    if judged_by is Profile.robust:
        hold_back_anomalies(reported)
        reported = [issue for issue in reported if issue.suppressed is None]
    # What somebody chose stays, also where a cause would have made it lighter.
    _set_severities(reported, chosen)
    write_fixes(run, reported)
    issues = cause_first(reported)
    suppressed = cause_first([issue for issue in found if issue.suppressed is not None])
    return Report(
        health_score=compute_health_score(issues),
        arch_type=run.blueprint.kind,
        issues=issues,
        suppressed=suppressed,
        skipped=skipped,
        epoch_trends=epoch_trends(issues),
        session_level_issues=[issue for issue in issues if issue.epoch_index is None],
        layer_highlights=layer_highlights(issues, run.blueprint.types),
        sustainability=sustainability(run, issues, limits),
        summary=_summary(issues, suppressed, skipped, ran, judged_by)
        | {"policy": _differences(limits, disabled, chosen, baseline), "anomaly": anomaly.summary(run)},
    )


def _set_severities(issues: Sequence[IssueData], chosen: Mapping[str, IssueSeverity]) -> None:
    for issue in issues:
        issue.severity = chosen.get(issue.check_id, issue.severity)


def _differences(
    limits: DiagnosticThresholds,
    disabled: Collection[str],
    chosen: Mapping[str, IssueSeverity],
    baseline: Baseline | None,
) -> dict[str, Any]:
    """Return by what a run was judged, as far as it differs from the defaults; names as in `Policy.from_mapping`."""
    return {
        "thresholds": _own_thresholds(limits),
        "disable": sorted(map(str, disabled)),
        "severity": {check: str(severity) for check, severity in sorted(chosen.items())},
        "baseline": baseline.as_dict() if baseline else None,
    }


def _own_thresholds(limits: DiagnosticThresholds) -> dict[str, Any]:
    own = _VALUES(limits)
    if own == _USUAL:
        return {}
    triples = zip(_NAMES, own, _USUAL, strict=True)
    return {name: value for name, value, usual in triples if value != usual}


def _summary(
    issues: list[IssueData], suppressed: list[IssueData], skipped: Mapping[str, list[str]], ran: int, profile: Profile
) -> dict[str, Any]:
    categories = Counter(str(issue.category) for issue in issues)
    return {
        "severity_breakdown": severity_breakdown(issues),
        "category_breakdown": dict(sorted(categories.items())),
        "suppressed_count": len(suppressed),
        "skipped_checks": dict(skipped),
        "checks_run": ran,
        "profile": str(profile),
        "engine_version": ENGINE_VERSION,
    }


def run_diagnostics(
    epochs: Sequence[Epoch | Mapping[str, Any]],
    logs: Sequence[LogLine | Mapping[str, Any]],
    arch: Architecture | Mapping[str, Any] | None,
    thresholds: DiagnosticThresholds | None = None,
    profile: str = Profile.robust,
) -> tuple[list[IssueData], int, str]:
    """Return ``(issues, health_score, arch_type)`` of a run given as the guide's section 4.1 shapes it."""
    report = diagnose(Run.from_epochs(epochs, logs=logs, architecture=arch), thresholds=thresholds, profile=profile)
    return report.issues, report.health_score, report.arch_type


def parse_profile(name: str) -> Profile:
    """Return the profile of that name. Raises ValueError, naming those there are."""
    try:
        return Profile(name)
    except ValueError as error:
        raise ValueError(f"unknown profile {name!r}; there are {', '.join(Profile)}") from error


def _refuse_unknown(disabled: Collection[str]) -> None:
    known = {*CHECKS, *IssueCategory}
    if unknown := sorted(str(name) for name in disabled if name not in known):
        raise ValueError(f"there is no check or category {', '.join(unknown)}")
