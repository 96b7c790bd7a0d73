"""The acceptance part: models, data and faults that no threshold was tuned on, and public logs."""

from __future__ import annotations

from benchmarks.detection.acceptance.faults import FAULTS
from benchmarks.detection.acceptance.healthy import HEALTHY
from benchmarks.detection.acceptance.round2 import SCENARIOS as ROUND_2
from benchmarks.detection.acceptance.round3 import SCENARIOS as ROUND_3
from benchmarks.detection.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (*HEALTHY, *FAULTS, *ROUND_2, *ROUND_3)
