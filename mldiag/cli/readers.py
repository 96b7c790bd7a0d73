"""From bytes to a run: every form in which a run may lie in a file.

The fast path decodes what `Observer.export` wrote straight into records. What it cannot read (bare NaN tokens,
dicts with missing fields, JSON lines, UTF-16) goes the slower ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mldiag.cli.document import parse, read_document
from mldiag.cli.lines import read_lines
from mldiag.cli.recorded import ACCEPTED, AN_EPOCH, MEASURED, RecordedRun, UnreadableRun, from_run_file
from mldiag.cli.structs import EPOCH, RUN_FILE
from observer_client.record import Epoch, RunFile

_START = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(\S)")
# Not strict: a number may be spelled, as NaN and infinity must be.
_RUN_FILE: msgspec.json.Decoder[RunFile] = msgspec.json.Decoder(RUN_FILE, strict=False)  # type: ignore[arg-type]
_EPOCHS: msgspec.json.Decoder[list[Epoch]] = msgspec.json.Decoder(list[EPOCH], strict=False)  # type: ignore[valid-type]


def read(data: bytes) -> RecordedRun:
    """Return the run in ``data``. Raises UnreadableRun."""
    start = _START.match(data)
    if start is None:
        raise UnreadableRun("is empty", hint=ACCEPTED)
    run = _read_fast(data, start[1])
    if run is None:
        run = read_lines(data) or read_document(data)
    _refuse_emptiness(run, data)
    return run


def _read_fast(data: bytes, start: bytes) -> RecordedRun | None:
    try:
        if start == b"[":
            return RecordedRun(epochs=list(_EPOCHS.decode(data)))
        run = _RUN_FILE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # An object of some other form decodes into nothing.
    return from_run_file(run) if run.epochs or run.logs or run.architecture or run.session else None


def _refuse_emptiness(run: RecordedRun, data: bytes) -> None:
    """Not looked at is not healthy: a file in which nothing can be judged must not pass as a clean one."""
    if any(_measures(each) for each in run.epochs) or run.logs or run.architecture or run.reason:
        return
    if not run.epochs:
        raise UnreadableRun("holds no epochs, logs or architecture: nothing to judge", hint=ACCEPTED)
    names = ", ".join(_names(data))
    raise UnreadableRun(f"has epochs without any known measurement (seen: {names})", hint=AN_EPOCH)


def _names(data: bytes) -> list[str]:
    """Return the quoted names of what the first epoch in ``data`` holds."""
    try:
        value = parse(data.decode(json.detect_encoding(data), errors="replace"))
    except UnreadableRun:
        value = parse(data.splitlines()[0].decode(errors="replace"))
    epoch = value.get("epochs", value) if isinstance(value, dict) else value
    first = epoch[0] if isinstance(epoch, list) else epoch
    return [f'"{str(name)[:40]}"' for name in list(first)[:6]]


def _measures(epoch: Epoch | Mapping[str, Any]) -> bool:
    if isinstance(epoch, Mapping):
        return any(epoch.get(name) is not None for name in MEASURED)
    return any(getattr(epoch, name) is not None for name in MEASURED)
