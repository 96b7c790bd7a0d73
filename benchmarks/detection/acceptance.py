"""Scenarios of the acceptance part: models and data that no threshold was tuned on."""

from __future__ import annotations

from benchmarks.detection.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = ()
