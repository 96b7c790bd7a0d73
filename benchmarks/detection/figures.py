"""Verdicts, counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.detection.judging import HOST_NOISE, Verdict, can_detect, can_name


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``total``."""

    hits: int
    total: int

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], test: Callable[[Verdict], bool]) -> Share:
        results = [test(verdict) for verdict in verdicts]
        return cls(sum(results), len(results))

    def __str__(self) -> str:
        return f"{self.hits}/{self.total} ({self.hits / self.total:.0%})" if self.total else "-"

    def as_dict(self) -> dict[str, Any]:
        return {"hits": self.hits, "total": self.total, "share": self.hits / self.total if self.total else None}


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one part and profile."""

    healthy_alarmed: Share
    healthy_alarmed_by_the_run: Share
    """Without the checks that see what else the machine does."""
    worst_check: str
    worst_check_share: Share
    healthy_score: float
    detected: Share
    detected_of_possible: Share
    named: Share
    named_of_possible: Share
    right_layer: Share
    right_layer_of_possible: Share
    broken_score: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Summary:
        healthy = [each for each in verdicts if each.scenario.healthy]
        broken = [each for each in verdicts if not each.scenario.healthy]
        seen = [each for each in broken if can_detect(each.scenario)]
        known = [each for each in broken if can_name(each.scenario)]
        per_check = false_alarms(healthy)
        worst = max(per_check, key=lambda check: per_check[check].hits, default="none")
        return cls(
            healthy_alarmed=Share.of(healthy, lambda each: bool(each.alarms)),
            healthy_alarmed_by_the_run=Share.of(healthy, _alarmed_by_the_run),
            worst_check=worst,
            worst_check_share=per_check.get(worst, Share(0, len(healthy))),
            healthy_score=_median(healthy),
            detected=Share.of(broken, _detected),
            detected_of_possible=Share.of(seen, _detected),
            named=Share.of(broken, _named),
            named_of_possible=Share.of(known, _named),
            right_layer=Share.of((each for each in broken if each.at_fault), _right_layer),
            right_layer_of_possible=Share.of((each for each in known if each.at_fault), _right_layer),
            broken_score=_median(broken),
        )

    def as_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: each.as_dict() if isinstance(each, Share) else each for name, each in values.items()}


def _alarmed_by_the_run(verdict: Verdict) -> bool:
    return any(issue.check_id not in HOST_NOISE for issue in verdict.alarms)


def _detected(verdict: Verdict) -> bool:
    return verdict.detected


def _named(verdict: Verdict) -> bool:
    return verdict.named


def _right_layer(verdict: Verdict) -> bool:
    return verdict.right_layer


def _median(verdicts: Sequence[Verdict]) -> float:
    return median(each.report.health_score for each in verdicts) if verdicts else float("nan")


def false_alarms(healthy: Sequence[Verdict]) -> dict[str, Share]:
    """Return, per check, the healthy runs in which it raised a warning or worse; those that never did are left out."""
    raised = Counter(check for each in healthy for check in {issue.check_id for issue in each.alarms})
    return {check: Share(count, len(healthy)) for check, count in raised.most_common()}


def by_kind(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Return the verdicts of each kind, in the order of the tables."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.scenario.kind].append(verdict)
    return groups


@dataclass(frozen=True, slots=True)
class FaultFigures:
    """How one kind of fault fared. A share is None where the engine has no check for it yet."""

    runs: int
    detected: Share | None
    named: Share | None
    right_layer: Share | None
    score: float
    first: str
    """The check that most often heads the report."""

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> FaultFigures:
        scenario = verdicts[0].scenario
        layered = [each for each in verdicts if each.at_fault]
        heads = Counter(each.report.issues[0].check_id if each.report.issues else "nothing" for each in verdicts)
        return cls(
            runs=len(verdicts),
            detected=Share.of(verdicts, _detected) if can_detect(scenario) else None,
            named=Share.of(verdicts, _named) if can_name(scenario) else None,
            right_layer=Share.of(layered, _right_layer) if layered and can_name(scenario) else None,
            score=_median(verdicts),
            first=heads.most_common(1)[0][0],
        )

    def as_dict(self) -> dict[str, Any]:
        shares = {"detected": self.detected, "named": self.named, "right_layer": self.right_layer}
        told = {name: share.as_dict() if share else None for name, share in shares.items()}
        return {"runs": self.runs, **told, "score": self.score, "first": self.first}
