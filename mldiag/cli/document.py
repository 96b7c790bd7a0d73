"""One JSON document of any accepted shape, by the standard library: slower, but it tells where a file is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mldiag.cli.recorded import ACCEPTED, AN_EPOCH, MEASURED, RecordedRun, UnreadableRun, from_run_file
from mldiag.cli.trainer_state import HISTORY, from_trainer_state
from observer_client.record import RunFile

MOST_DIGITS = 300
"""An integer longer than this is beyond every float."""

_BLANK = "\ufeff \t\r\n"


def read_document(data: bytes) -> RecordedRun:
    """Return the run in a JSON document of any accepted shape. Raises UnreadableRun."""
    notes: list[str] = []
    value = parse(_text(data, notes))
    run = _from_value(value)
    run.notes[:0] = notes
    return run


def parse(text: str) -> Any:
    """Return the JSON value in ``text``; bare NaN and infinity are read. Raises UnreadableRun with the place."""
    try:
        return json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise _broken(text, error) from error
    except RecursionError as error:
        raise UnreadableRun("is nested too deeply to be a run", hint=ACCEPTED) from error


def from_document(document: Mapping[str, Any]) -> RecordedRun:
    """Return the run in an object with ``epochs``, ``logs``, ``architecture``; wrong leaves become notes."""
    document = {name: value for name, value in document.items() if value is not None}
    epochs = numbered(_items(document.get("epochs", []), "$.epochs", AN_EPOCH))
    logs = [{"msg": each} if isinstance(each, str) else each for each in _list(document.get("logs", []), "$.logs")]
    logs = _items(logs, "$.logs", 'a log line is an object such as {"level": "ERROR", "msg": "..."}')
    for name in ("architecture", "session", "ending"):
        _object(document.get(name, {}), f"$.{name}")
    shaped = {**document, "epochs": epochs, "logs": logs}
    try:
        return from_run_file(msgspec.convert(shaped, RunFile, strict=False))
    except (msgspec.ValidationError, RecursionError) as error:
        session, ending = document.get("session", {}), document.get("ending", {})
        return RecordedRun(
            name=session.get("run_name"),
            epochs=epochs,
            logs=logs or None,
            architecture=document.get("architecture"),
            hyperparameters=_dict(session.get("hyperparameters")),
            environment=_dict(session.get("environment")),
            status=ending.get("status"),
            reason=ending.get("reason"),
            notes=[f"{error}; what has the wrong type counts as not logged"],
        )


def numbered(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``epochs`` with the place in the list as number of those that have none."""
    return [each if each.get("epoch") is not None else {**each, "epoch": i} for i, each in enumerate(epochs)]


def _from_value(value: Any) -> RecordedRun:
    if isinstance(value, list):
        run = from_document({"epochs": _items(value, "$", AN_EPOCH)})
        run.notes = [note.replace("$.epochs[", "$[") for note in run.notes]
        return run
    if not isinstance(value, dict):
        raise UnreadableRun(f"holds {_kind(value)}, not a run", hint=ACCEPTED)
    if "epochs" in value or "architecture" in value or "logs" in value or "session" in value:
        return from_document(value)
    if HISTORY in value:
        return from_trainer_state(value)
    if MEASURED & value.keys():
        return from_document({"epochs": [value]})
    found = ", ".join(f'"{str(name)[:40]}"' for name in list(value)[:6])
    raise UnreadableRun(
        f"is a JSON object with {found}, but no epochs" if found else "is an empty JSON object", hint=ACCEPTED
    )


def _text(data: bytes, notes: list[str]) -> str:
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        notes.append(f"byte {error.start} is not {encoding.upper()}: such bytes were replaced")
        text = data.decode(encoding, errors="replace")
    # Any bytes with zeros in the right places pass for UTF-16.
    if "\0" in text[:4096] or not (encoding.startswith("utf-8") or text.lstrip(_BLANK).startswith(("{", "["))):
        raise UnreadableRun("is a binary file, not a run", hint=ACCEPTED)
    return text


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


def _broken(text: str, error: json.JSONDecodeError) -> UnreadableRun:
    where = f"line {error.lineno}, column {error.colno}"
    if not text[error.pos :].strip() or error.msg.startswith("Unterminated"):
        return UnreadableRun(f"ends in the middle ({where}): was it cut off while it was written?", hint=ACCEPTED)
    start = max(0, error.pos - 30, text.rfind("\n", 0, error.pos) + 1)
    excerpt = text[start : error.pos + 30].split("\n")[0]
    detail = f"{excerpt}\n{' ' * (error.pos - start)}^"
    return UnreadableRun(f"is not JSON: {error.msg} at {where}", detail=detail, hint=ACCEPTED)


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableRun(f"has {_kind(value)} at {path}, where a list is expected", hint=ACCEPTED)
    return value


def _items(value: Any, path: str, hint: str) -> list[dict[str, Any]]:
    for i, each in enumerate(_list(value, path)):
        if not isinstance(each, dict):
            raise UnreadableRun(f"has {_kind(each)} at {path}[{i}], where an object is expected", hint=hint)
    return list(value)


def _object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise UnreadableRun(f"has {_kind(value)} at {path}, where an object is expected", hint=ACCEPTED)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
