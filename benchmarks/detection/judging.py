"""The engine's verdict on an exported run, and what it is worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from benchmarks.detection.running import Job, Trained
from benchmarks.detection.scenario import Scenario
from diagnostics.engine import CHECKS, IssueData, IssueSeverity, Report, Run, diagnose

PROFILES = ("robust", "guide")

HOST_NOISE = frozenset(
    ["throughput-degradation", "slow-epoch", "high-cpu", "slow-step", "fail-slow", "input-bound", "rank-straggler"]
)
"""Checks that see what else the machine does. They count like all others, and are shown apart."""


@dataclass(frozen=True)
class Verdict:
    """What the engine said about one run in one profile."""

    job: Job
    profile: str
    report: Report
    at_fault: frozenset[str]

    @property
    def scenario(self) -> Scenario:
        return self.job.scenario

    @cached_property
    def alarms(self) -> list[IssueData]:
        """Reported issues that are more than information."""
        return [issue for issue in self.report.issues if issue.severity != IssueSeverity.info]

    @property
    def detected(self) -> bool:
        """Whether the fault was seen: named by whatever severity, or its symptoms raised as warning or worse."""
        names, signs = self.scenario.names, self.scenario.signs
        return any(issue.check_id in names for issue in self.report.issues) or any(
            issue.check_id in signs for issue in self.alarms
        )

    @property
    def named(self) -> bool:
        """Whether the first issue of the report names the fault."""
        issues = self.report.issues
        return bool(issues) and issues[0].check_id in self.scenario.names

    @property
    def right_layer(self) -> bool:
        """Whether the first layer that an issue blames by the fault's name is one at fault."""
        blamed = (issue.layer_id for issue in self.report.issues if issue.check_id in self.scenario.names)
        return next((layer for layer in blamed if layer is not None), None) in self.at_fault


def judge(run: Trained, profile: str) -> Verdict:
    """Return the verdict on a run, read from its file as any user's would be."""
    document = json.loads(run.path.read_bytes())
    session = document.get("session", {})
    columns = Run.from_epochs(
        document["epochs"],
        logs=document["logs"],
        architecture=document.get("architecture"),
        hyperparameters=session.get("hyperparameters"),
        environment=session.get("environment"),
    )
    return Verdict(run.job, profile, diagnose(columns, profile=profile), run.at_fault)


def can_detect(scenario: Scenario) -> bool:
    """Return whether the engine has any check that could see the fault."""
    return not (scenario.names | scenario.signs).isdisjoint(CHECKS)


def can_name(scenario: Scenario) -> bool:
    """Return whether the engine has a check for the fault itself."""
    return not scenario.names.isdisjoint(CHECKS)
