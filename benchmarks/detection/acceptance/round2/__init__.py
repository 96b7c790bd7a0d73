"""The second round: written after the rules were mended for the first, by who knows none of them."""

from __future__ import annotations

from benchmarks.detection.acceptance.round2.faults import FAULTS
from benchmarks.detection.acceptance.round2.healthy import HEALTHY
from benchmarks.detection.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (*HEALTHY, *FAULTS)
