"""The third round: written before the rules were mended for the second, by who knows none of them."""

from __future__ import annotations

from benchmarks.detection.acceptance.round3.faults import FAULTS
from benchmarks.detection.acceptance.round3.healthy import HEALTHY
from benchmarks.detection.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (*HEALTHY, *FAULTS)
