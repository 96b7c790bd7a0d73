"""What a resumed run has behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from uuid import UUID, uuid4

from observer_client.config import ObserverConfig
from observer_client.guard import log
from observer_client.runfolder import RECORDS, Entry, entries
from observer_client.spool import Spool

VARIABLE = "MLDIAG_RUN_KEY"
_CLOCK_BEGAN = 1_700_000_000
_LINES_A_MINUTE = 1_000
_used: set[str] = set()
"""Keys from the environment that an Observer of this process took: the next one begins a run of its own."""


@dataclass(slots=True)
class Past:
    """``attempt`` counts how often the run was resumed, ``attempts`` how often each epoch was recorded.

    ``least`` is the attempt of epochs that are not among them. ``lines`` is the number of the last log line.
    ``steps`` is how many steps there were at the end of each epoch.
    """

    key: str = field(default_factory=lambda: str(uuid4()))
    folder: Path | None = None
    name: str | None = None
    attempt: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    least: int = 0
    next_epoch: int = 0
    lines: int = 0
    steps: dict[int, int] = field(default_factory=dict)

    def steps_before(self, epoch: int) -> int:
        """Return how many steps there were when ``epoch`` began, as far as is recorded."""
        return self.steps[max(earlier)] if (earlier := [each for each in self.steps if each < epoch]) else 0


def past_of(resume: str | os.PathLike[str] | None, config: ObserverConfig) -> Past:
    """Return the past of the run called ``resume``, by its key or its folder, else by ``MLDIAG_RUN_KEY``.

    A run that is not recorded in ``config.directory`` may have been resumed anywhere, any number of times: then the
    clock numbers its attempts. One that a living process records is not resumed, and a new run begins.
    Raises ValueError when ``resume`` is neither key nor folder.
    """
    told = "" if resume is None else os.fspath(resume).strip()
    if not told:
        told = os.environ.get(VARIABLE, "").strip()
        if not told or told in _used:
            return Past()
        _used.add(told)
        try:
            return _past(told, config)
        except ValueError as error:
            log.warning("mldiag: %s: %s; a new run begins", VARIABLE, error)
            return Past()
    return _past(told, config)


def _past(told: str, config: ObserverConfig) -> Past:
    folder = Path(told).absolute()
    if not (folder / RECORDS).is_file():
        try:
            key = str(UUID(told))
        except ValueError:
            raise ValueError(f"resume is the key of a run or its folder, not {told!r:.200}") from None
        found = next(_folders(Path(config.directory).absolute(), key), None)
        if found is None:
            minutes = int(time() - _CLOCK_BEGAN) // 60
            return Past(key=key, attempt=minutes, least=minutes, lines=minutes * _LINES_A_MINUTE)
        folder = found
    spool = Spool(folder)
    free = spool.claim()
    spool.close()
    if not free:
        log.warning("mldiag: the run in %s is still being recorded by another process; a new run begins", folder)
        return Past()
    return _read(folder)


def _folders(directory: Path, key: str) -> Iterator[Path]:
    for path in directory.glob(f"*-{key[:8]}/{RECORDS}"):
        first = next(entries(path), None)
        if first is not None and first.data.get("key") == key:
            yield path.parent


def _read(folder: Path) -> Past:
    past = Past(folder=folder)
    for entry in entries(folder / RECORDS):
        # A record that somebody damaged tells nothing, and stops nothing.
        with suppress(ValueError, TypeError, LookupError):
            _take(past, entry)
    past.attempt += 1
    return past


def _take(past: Past, entry: Entry) -> None:
    match entry.kind:
        case "opening":
            past.key = str(entry.data.get("key") or past.key)
            past.name = entry.data.get("run_name") or past.name
            past.attempt = max(past.attempt, int(entry.data.get("attempt") or 0))
        case "epoch":
            number, attempt = int(entry.data.get("epoch") or 0), int(entry.data.get("attempt") or 0)
            past.attempts[number] = max(attempt, past.attempts.get(number, 0))
            past.next_epoch = number + 1
            if steps := entry.data.get("steps"):
                past.steps[number] = int(steps["first"][-1]) + int(steps["count"][-1])
        case "log":
            past.lines = max(past.lines, int(entry.data.get("seq") or 0))
