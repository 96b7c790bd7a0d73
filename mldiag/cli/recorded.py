"""What a file tells about a run, or why it tells none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from observer_client.record import FORMAT, Architecture, Epoch, LogLine, RunFile

ACCEPTED = (
    "a file written by Observer.export, a run folder or its records.jsonl, a JSON list of epochs, "
    'an object {"epochs": [...], "logs": [...], "architecture": {...}}, JSON lines with one epoch each, '
    "or the trainer_state.json of a Hugging Face Trainer"
)
AN_EPOCH = 'an epoch is an object such as {"epoch": 0, "loss": {"train_mean": 0.7, "val": {"val_loss": 0.8}}}'
MEASURED = frozenset(each.name for each in fields(Epoch)) - {"epoch", "attempt", "ended_at"}


class UnreadableRun(Exception):
    """A file holds no run. The message completes a sentence that begins with the file's name.

    ``detail`` shows the place, ``hint`` says what would be read.
    """

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.detail = detail
        self.hint = hint


@dataclass(slots=True, kw_only=True)
class RecordedRun:
    """What a file tells about a run. ``logs`` is None if nobody captured any, ``notes`` says what was of no use."""

    name: str | None = None
    epochs: Sequence[Epoch | Mapping[str, Any]] = field(default_factory=list)
    logs: Sequence[LogLine | Mapping[str, Any]] | None = None
    architecture: Architecture | Mapping[str, Any] | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    status: str | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)


def from_run_file(run: RunFile) -> RecordedRun:
    """Return what the exported ``run`` tells."""
    session, ending = run.session, run.ending
    # Without a line, only the observer's own settings can tell that somebody listened.
    captured = bool(run.logs or (session and session.config.get("capture_logs")))
    recorded = RecordedRun(
        epochs=list(run.epochs), logs=list(run.logs) if captured else None, architecture=run.architecture
    )
    if session:
        recorded.name = session.run_name
        recorded.hyperparameters, recorded.environment = session.hyperparameters, session.environment
        recorded.tags = session.tags
    if ending:
        recorded.status, recorded.reason = ending.status, ending.reason
    if run.format > FORMAT:
        recorded.notes.append(f"written in format {run.format}; this mldiag reads {FORMAT}: newer fields are ignored")
    return recorded
