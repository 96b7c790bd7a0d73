"""JSON lines: the client's spool (``records.jsonl``), and plain files with one epoch a line."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from mldiag.cli.document import from_document, parse
from mldiag.cli.recorded import AN_EPOCH, MEASURED, RecordedRun, UnreadableRun, from_run_file
from mldiag.cli.structs import EPOCH
from observer_client.record import Architecture, Ending, LogLine, Opening, RunFile

_KINDS = ("opening", "update", "architecture", "epoch", "log", "ending")


class _Line(msgspec.Struct, gc=False):
    kind: str
    data: msgspec.Raw
    seq: int | None = None


_LINE = msgspec.json.Decoder(_Line)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "opening": msgspec.json.Decoder(Opening, strict=False),
    "architecture": msgspec.json.Decoder(Architecture, strict=False),
    "epoch": msgspec.json.Decoder(EPOCH, strict=False),
    "log": msgspec.json.Decoder(LogLine, strict=False),
    "ending": msgspec.json.Decoder(Ending, strict=False),
}


def read_lines(data: bytes) -> RecordedRun | None:
    """Return the run in JSON lines; None when ``data`` is one document. Raises UnreadableRun.

    The last line may be torn: a run that goes on, or was killed, ends like that.
    """
    lines = data.splitlines()
    first = next((line for line in lines if line.strip()), b"")
    head = _record(first)
    if head is None:
        return None
    if head.keys() >= {"kind", "data"} and head["kind"] in _KINDS:
        return _read_spool(lines)
    if sum(1 for line in lines if line.strip()) > 1 and (MEASURED | {"epoch"}) & head.keys():
        return _read_epochs(lines)
    return None


def _read_spool(lines: list[bytes]) -> RecordedRun:
    run = RunFile()
    notes: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                record = _LINE.decode(line)
                _take(run, record)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                last = number == len(lines)
                notes.append("the last line is incomplete" if last else f"line {number} cannot be read: {error}")
    recorded = from_run_file(run)
    recorded.notes += notes
    return recorded


def _take(run: RunFile, record: _Line) -> None:
    if record.kind == "update":
        return _update(run, _OBJECT.decode(record.data))
    if record.kind not in _DECODERS:
        return None
    value = _DECODERS[record.kind].decode(record.data)
    match value:
        case Opening():
            run.session = value
        case Architecture():
            run.architecture = value
        case EPOCH():
            run.epochs.append(value)
        case LogLine():
            run.logs.append(value)
        case Ending():
            run.ending = value
    return None


def _update(run: RunFile, changes: dict[str, Any]) -> None:
    session = run.session or Opening(key="")
    for name in ("hyperparameters", "environment", "config"):
        if isinstance(changes.get(name), dict):
            getattr(session, name).update(changes[name])
    if isinstance(changes.get("run_name"), str):
        session.run_name = changes["run_name"]
    run.session = session


def _read_epochs(lines: list[bytes]) -> RecordedRun:
    epochs: list[dict[str, Any]] = []
    torn = False
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = parse(line.decode(errors="replace"))
            except UnreadableRun as error:
                if number < len(lines):
                    raise UnreadableRun(f"is broken in line {number}: it {error}", hint=AN_EPOCH) from error
                torn = True
                continue
            if not isinstance(value, dict):
                raise UnreadableRun(f"has no object in line {number}", hint=AN_EPOCH)
            epochs.append(value)
    run = from_document({"epochs": epochs})
    if torn:
        run.notes.append("the last line is incomplete")
    return run


def _record(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(UnreadableRun):
        value = parse(line.decode(errors="replace"))
        return value if isinstance(value, dict) else None
    return None
