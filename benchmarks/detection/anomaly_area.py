"""How well the anomaly score alone tells faulty runs from healthy ones, whatever the other checks say."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.detection.judging import Verdict


def area(verdicts: Sequence[Verdict]) -> float | None:
    """Return the area under the ROC curve: how often a faulty run's most unusual epoch scores above a healthy run's,
    ties counting half. A run of which no epoch was scored counts as 0. None without runs of both kinds."""
    healthy = [_score(each) for each in verdicts if each.scenario.healthy]
    faulty = [_score(each) for each in verdicts if not each.scenario.healthy]
    if not healthy or not faulty:
        return None
    won = sum((bad > good) + (bad == good) / 2 for bad in faulty for good in healthy)
    return won / (len(healthy) * len(faulty))


def line(verdicts: Sequence[Verdict]) -> str:
    """Return the area as a sentence below the table of figures; empty where there is none."""
    found = area(verdicts)
    return "" if found is None else f"\nAnomaly AUROC (score of the most unusual epoch of a run): {found:.3f}\n"


def _score(verdict: Verdict) -> float:
    return float(verdict.report.summary["anomaly"]["score"] or 0.0)
