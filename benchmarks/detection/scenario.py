"""What is to be trained, and what a good diagnosis says about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.detection.training import Twist
from benchmarks.detection.workloads import Builder


class Part(StrEnum):
    """Thresholds are tuned on one part; what they are worth shows on the others. Acceptance is written last, by who
    has tuned nothing, and its verdicts change no rule."""

    tuning = "tuning"
    held_out = "held-out"
    acceptance = "acceptance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One training: a sound workload and what is done to it.

    ``names`` are the checks that name the fault, ``signs`` those that see only its symptoms; both are empty for a
    healthy run. A check of either that is no part of the engine yet cannot find anything, and is counted apart.
    """

    kind: str
    part: Part
    workload: Builder
    twist: Twist
    names: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()
    round: int = 1
    """The acceptance part has several; each was judged before the next one was mended for."""

    @property
    def healthy(self) -> bool:
        return not self.names

    @property
    def name(self) -> str:
        """``kind/workload``, which is what ``--only`` looks through."""
        return f"{self.kind}/{self.workload.__name__.replace('_', '-')}"


def placed(
    kind: str,
    twist: Twist,
    *,
    tuning: tuple[Builder, ...],
    held_out: tuple[Builder, ...] = (),
    names: frozenset[str] = frozenset(),
    signs: frozenset[str] = frozenset(),
) -> list[Scenario]:
    """Return one scenario for each workload of the two parts."""
    return [
        Scenario(kind=kind, part=part, workload=workload, twist=twist, names=names, signs=signs)
        for part, workloads in ((Part.tuning, tuning), (Part.held_out, held_out))
        for workload in workloads
    ]


UNSTABLE = (
    "loss-divergence loss-explosion gradient-instability high-loss-variance oscillation loss-spike gradient-spike "
    "exploding-gradients update-ratio first-epoch-blow-up learning-rate-too-high nan-in-loss inf-gradients"
)
STUCK = "not-learning loss-plateau"
"""Checks that see the symptoms of most faults: a loss that jumps about, and one that does not move."""

# Kind, injection, checks that name the fault, checks that see its symptoms, workloads to tune on, workloads held out.
Row = tuple[str, Twist, str, str, tuple[Builder, ...], tuple[Builder, ...]]
