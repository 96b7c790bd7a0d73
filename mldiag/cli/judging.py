"""Judges what lies in files: from names to reports."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from diagnostics.engine import DiagnosticThresholds, Report, Run, diagnose
from mldiag.cli.files import Source, sources
from mldiag.cli.readers import read
from mldiag.cli.recorded import RecordedRun, UnreadableRun


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs are to be judged."""

    profile: str
    thresholds: DiagnosticThresholds
    disabled: frozenset[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that was read and judged. ``path`` is what a CI system can link to."""

    path: str
    run: RecordedRun
    report: Report


@dataclass(frozen=True, slots=True)
class Unread:
    """A file in which no run was found."""

    path: str
    error: UnreadableRun


def judge_all(names: list[str], settings: Settings) -> Iterator[Judged | Unread]:
    """Yield the outcome for every run that ``names`` lead to."""
    for source in sources(names):
        if isinstance(source, Source):
            yield _outcome(source, settings)
        else:
            yield Unread(*source)


def judge(data: bytes, settings: Settings) -> tuple[RecordedRun, Report]:
    """Return the run in ``data`` and the engine's report on it. Raises UnreadableRun."""
    with _no_collection():
        run = read(data)
        columns = Run.from_epochs(
            run.epochs,
            logs=run.logs,
            architecture=run.architecture,
            hyperparameters=run.hyperparameters,
            environment=run.environment,
        )
        disabled = settings.disabled
        return run, diagnose(columns, thresholds=settings.thresholds, profile=settings.profile, disabled=disabled)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking through a million new records that all stay: half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _outcome(source: Source, settings: Settings) -> Judged | Unread:
    try:
        return Judged(source.name, *judge(source.load(), settings))
    except UnreadableRun as error:
        return Unread(source.name, error)
