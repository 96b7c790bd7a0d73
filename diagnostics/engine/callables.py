"""The guide's functions on raw data: `check_loss_explosion(epochs)` and its siblings (guide 5 to 7, 11.12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from diagnostics.engine.fixes import write_fixes
from diagnostics.engine.issue import IssueData
from diagnostics.engine.registry import CHECKS, Profile
from diagnostics.engine.report import parse_profile
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DEFAULTS, DiagnosticThresholds
from observer_client.record import Architecture, Epoch, LogLine


class EpochCheck(Protocol):
    def __call__(
        self,
        epochs: Sequence[Epoch | Mapping[str, Any]],
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]: ...


class LogCheck(Protocol):
    def __call__(
        self,
        logs: Sequence[LogLine | Mapping[str, Any]],
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]: ...


class ArchitectureCheck(Protocol):
    def __call__(
        self,
        arch: Architecture | Mapping[str, Any] | None,
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]: ...


def _reported(id: str, run: Run, thresholds: DiagnosticThresholds | None, profile: str) -> list[IssueData]:
    issues = CHECKS[id](run, thresholds or DEFAULTS, parse_profile(profile))
    reported = [issue for issue in issues if issue.suppressed is None]
    write_fixes(run, reported)
    return reported


def on_epochs(id: str) -> EpochCheck:
    """Return check ``id`` as a function of raw epochs."""

    def run_check(
        epochs: Sequence[Epoch | Mapping[str, Any]],
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]:
        return _reported(id, Run.from_epochs(epochs), thresholds, profile)

    _name(run_check, id)
    return run_check


def on_logs(id: str) -> LogCheck:
    """Return check ``id`` as a function of raw log lines."""

    def run_check(
        logs: Sequence[LogLine | Mapping[str, Any]],
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]:
        return _reported(id, Run.from_epochs([], logs=logs), thresholds, profile)

    _name(run_check, id)
    return run_check


def on_architecture(id: str) -> ArchitectureCheck:
    """Return check ``id`` as a function of a raw architecture."""

    def run_check(
        arch: Architecture | Mapping[str, Any] | None,
        thresholds: DiagnosticThresholds | None = None,
        profile: str = Profile.robust,
    ) -> list[IssueData]:
        return _reported(id, Run.from_epochs([], architecture=arch), thresholds, profile)

    _name(run_check, id)
    return run_check


def _name(function: Any, id: str) -> None:
    function.__name__ = function.__qualname__ = f"check_{id.replace('-', '_')}"
    function.__doc__ = CHECKS[id].doc
