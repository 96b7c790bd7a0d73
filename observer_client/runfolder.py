"""What lies in a run's folder, and how it is read.

``records.jsonl`` only grows, one line a record: ``{"seq": 1, "kind": "epoch", "data": {...}}`` with the kinds opening,
update, architecture, epoch, log and ending. ``sent.json`` says how far the server acknowledged. ``lock`` is held by
the one process that records or sends the run. Nothing but the oldest
log lines is ever deleted, and those only above `ObserverConfig.max_spool_mb`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDS = "records.jsonl"
SENT = "sent.json"
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. ``end`` is where its line ends in the file, None while it is in memory only."""

    seq: int
    kind: str
    data: dict[str, Any]
    size: int
    end: int | None = None


def folder_name(run_name: str, key: str) -> str:
    """Return the name of a run's folder.

    >>> folder_name("ResNet 50 / lr=0.1", "0b9cc1c1-5f0e-4b43-a4ea-7c1d9a3c3f55")
    'resnet-50-lr-0.1-0b9cc1c1'
    """
    slug = re.sub(r"[^a-z0-9._]+", "-", run_name.lower()).strip("-.")[:60]
    return f"{slug or 'run'}-{key[:8]}"


def entries(path: Path, offset: int = 0) -> Iterator[Entry]:
    """Read the records of a file from byte ``offset``. A torn last line ends it, a damaged one is passed over."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line)
                yield Entry(int(record["seq"]), str(record["kind"]), dict(record["data"]), len(line), offset)
            except (ValueError, KeyError, TypeError):
                continue


def oldest_logs(path: Path, most_bytes: int) -> set[int]:
    """Return the numbers of the oldest log lines of about ``most_bytes`` together; errors go last."""
    lines = [
        (entry.data.get("kind") == "error", entry.seq, entry.size) for entry in entries(path) if entry.kind == "log"
    ]
    doomed: set[int] = set()
    for _, seq, size in sorted(lines):
        if most_bytes <= 0:
            break
        doomed.add(seq)
        most_bytes -= size
    return doomed


def copy_without(path: Path, target: Path, doomed: set[int]) -> None:
    """Copy records, all but those with the numbers ``doomed``. Raises OSError, leaving no half of a copy behind."""
    try:
        with path.open("rb") as source, target.open("wb") as kept:
            offset = 0
            for entry in entries(path):
                end = entry.end or 0
                source.seek(offset)
                line = source.read(end - offset)
                offset = end
                if entry.seq not in doomed:
                    kept.write(line)
            source.seek(offset)
            kept.write(source.read())
    except OSError:
        target.unlink(missing_ok=True)
        raise
