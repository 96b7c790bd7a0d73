"""Judges what lies in files: from names to reports."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from diagnostics.engine import Policy, Report, Run
from mldiag.cli.files import Source, sources
from mldiag.cli.readers import read
from mldiag.cli.recorded import RecordedRun, UnreadableRun


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that was read and judged. ``path`` is what a CI system can link to; ``run`` has no epochs any more."""

    path: str
    run: RecordedRun
    epoch_count: int
    report: Report


@dataclass(frozen=True, slots=True)
class Unread:
    """A file in which no run was found."""

    path: str
    error: UnreadableRun


def runs_in(names: list[str]) -> Iterator[Source | Unread]:
    """Yield every run that ``names`` lead to."""
    return (each if isinstance(each, Source) else Unread(*each) for each in sources(names))


def judge_all(found: Iterable[Source | Unread], policy: Policy) -> Iterator[Judged | Unread]:
    """Yield the outcome for each of ``found``, one after the other."""
    return (outcome_of(each, policy) if isinstance(each, Source) else each for each in found)


def judge(data: bytes, policy: Policy) -> tuple[RecordedRun, Report]:
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
        ending = {"status": run.status, "reason": run.reason} if run.status else None
        return run, policy.diagnose(replace(columns, ending=ending), run.tags)


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


def outcome_of(source: Source, policy: Policy) -> Judged | Unread:
    """Read and judge one file."""
    try:
        run, report = judge(source.load(), policy)
    except UnreadableRun as error:
        return Unread(source.name, error)
    # Epochs are many: kept, or sent from process to process, they would cost more than judging them.
    return Judged(source.name, replace(run, epochs=(), logs=()), len(run.epochs), report)
