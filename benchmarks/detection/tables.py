"""Figures as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.detection import anomaly_area
from benchmarks.detection.figures import FaultFigures, Share, Summary, by_kind, false_alarms
from benchmarks.detection.judging import HOST_NOISE, Verdict
from benchmarks.detection.scenario import Part
from observer_client.record import plain

Judged = Mapping[str, Sequence[Verdict]]
"""The verdicts of one part by profile."""

GOALS = {
    "healthy runs with a warning or worse": "<= 5 %",
    "the same, without what the machine's other load causes": "<= 5 %",
    "the check that most often raises one": "<= 1 %",
    "median score of healthy runs": ">= 90",
    "faults detected": ">= 95 %",
    "of those that a check exists for": ">= 95 %",
    "named by the first issue": ">= 85 %",
    "of those that have a check of their own": ">= 85 %",
    "right layer, where one is at fault": ">= 95 %",
    "of those that have a check of their own ": ">= 95 %",
    "median score of broken runs": "<= 50",
}


def summary_table(part: Part, judged: Judged) -> str:
    """Return the figures that have a goal, one column a profile."""
    columns = [_column(Summary.of(verdicts)) for verdicts in judged.values()]
    rows = [
        [name.strip(), goal, *(column[place] for column in columns)] for place, (name, goal) in enumerate(GOALS.items())
    ]
    figures = f"## {part.capitalize()} part\n\n" + _table(["", "goal", *judged], rows)
    return figures + anomaly_area.line(next(iter(judged.values())))


def _column(summary: Summary) -> list[str]:
    return [
        str(summary.healthy_alarmed),
        str(summary.healthy_alarmed_by_the_run),
        f"{summary.worst_check} {summary.worst_check_share}",
        f"{summary.healthy_score:g}",
        str(summary.detected),
        str(summary.detected_of_possible),
        str(summary.named),
        str(summary.named_of_possible),
        str(summary.right_layer),
        str(summary.right_layer_of_possible),
        f"{summary.broken_score:g}",
    ]


def fault_table(verdicts: Iterable[Verdict]) -> str:
    """Return how each kind of fault fared in one profile."""
    rows = []
    for kind, group in by_kind(each for each in verdicts if not each.scenario.healthy).items():
        figures = FaultFigures.of(group)
        shares = (figures.detected, figures.named)
        layer = "" if not any(each.at_fault for each in group) else _or_no_check(figures.right_layer)
        rows.append([kind, *map(_or_no_check, shares), layer, f"{figures.score:g}", figures.first])
    return _table(["fault", "detected", "named first", "right layer", "score", "most often first"], rows)


def _or_no_check(share: Share | None) -> str:
    return "no check yet" if share is None else f"{share.hits}/{share.total}"


def alarm_table(judged: Judged) -> str:
    """Return the healthy runs in which each check raised a warning or worse, one column a profile."""
    per_profile = [false_alarms([each for each in verdicts if each.scenario.healthy]) for verdicts in judged.values()]
    checks = list(dict.fromkeys(check for found in per_profile for check in found))
    rows = [
        [f"{check} †" if check in HOST_NOISE else check, *(str(found.get(check, "0")) for found in per_profile)]
        for check in checks
    ]
    return _table(["false alarms of", *judged], rows) + "\n† sees what else the machine does."


def healthy_table(verdicts: Iterable[Verdict]) -> str:
    """Return each kind of healthy run with what was raised in vain, in one profile."""
    rows = []
    for kind, group in by_kind(each for each in verdicts if each.scenario.healthy).items():
        raised = sorted({issue.check_id for each in group for issue in each.alarms})
        alarmed = Share.of(group, lambda each: bool(each.alarms))
        rows.append([kind, f"{alarmed.hits}/{alarmed.total}", ", ".join(raised)])
    return _table(["healthy kind", "alarmed", "by"], rows)


def peer_table(judged: Judged, alarms: Mapping[str, Sequence[bool]]) -> str:
    """Return whether anything at all was said, ours beside the peers'; ``alarms`` are in the order of the verdicts."""
    healthy = [each.scenario.healthy for each in next(iter(judged.values()))]
    raised = {f"ours, {profile}": [bool(each.alarms) for each in verdicts] for profile, verdicts in judged.items()}
    rows = []
    for name, found in {**raised, **alarms}.items():
        said = {
            kind: [hit for hit, sound in zip(found, healthy, strict=True) if sound is kind] for kind in (True, False)
        }
        rows.append([name, *(str(Share(sum(said[kind]), len(said[kind]))) for kind in (True, False))])
    return _table(["a warning or worse, whatever it says", "on healthy runs", "on broken runs"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def document(judged: Mapping[Part, Judged]) -> dict[str, Any]:
    """Return everything as JSON types, the verdict on each run included."""
    return {str(part): {profile: _profile(verdicts) for profile, verdicts in of.items()} for part, of in judged.items()}


def _profile(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    broken = by_kind(each for each in verdicts if not each.scenario.healthy)
    healthy = [each for each in verdicts if each.scenario.healthy]
    return plain(
        {
            "summary": Summary.of(verdicts).as_dict(),
            "false_alarms": {check: share.as_dict() for check, share in false_alarms(healthy).items()},
            "faults": {kind: FaultFigures.of(group).as_dict() for kind, group in broken.items()},
            "runs": [_run(each) for each in verdicts],
        }
    )


def _run(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.job.name,
        "seed": verdict.job.seed,
        "healthy": verdict.scenario.healthy,
        "score": verdict.report.health_score,
        "detected": verdict.detected,
        "named": verdict.named,
        "layers_at_fault": sorted(verdict.at_fault),
        "issues": [
            {
                "check": issue.check_id,
                "severity": str(issue.severity),
                "epoch": issue.epoch_index,
                "layer": issue.layer_id,
                "description": issue.description,
            }
            for issue in verdict.report.issues
        ],
    }
