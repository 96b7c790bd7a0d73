"""Runs that an earlier process recorded and did not deliver."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import time

from observer_client.record import Ending
from observer_client.runfolder import RECORDS, SENT
from observer_client.spool import Spool

SURELY_DEAD_AFTER = 3600.0


def run_folders(directory: Path) -> list[Path]:
    """Return the run folders in ``directory``, oldest first; ``directory`` itself when it is one."""
    if (directory / RECORDS).is_file():
        return [directory]
    folders = [each.parent for each in directory.glob(f"*/{RECORDS}")]
    return sorted(folders, key=lambda folder: (folder / RECORDS).stat().st_mtime)


def claim_run(folder: Path) -> Spool | None:
    """Open a run for sending; None while its own or another process has it.

    A run whose process surely died without a word gets its ending here.
    """
    spool = Spool(folder)
    if not spool.claim():
        return None
    if spool.seq and _is_orphan(spool):
        died = datetime.fromtimestamp(spool.records.stat().st_mtime, UTC).isoformat()
        spool.append("ending", Ending(status="killed", reason="the process ended without a word", ended_at=died))
    return spool


def _is_orphan(spool: Spool) -> bool:
    if spool.ended:
        return False
    # The lock proves the death of a process of this machine; elsewhere a network disk may not know it.
    here = spool.opening().get("environment", {}).get("hostname") == platform.node()
    return here or time() - spool.records.stat().st_mtime > SURELY_DEAD_AFTER


def undelivered(directory: Path, url: str) -> Iterator[Spool]:
    """Yield, claimed, the runs in ``directory`` that were meant for the server at ``url`` and are not all there yet.

    Runs recorded in offline mode are left for `sync`: that mode promises to send nothing by itself.
    """
    for folder in run_folders(directory):
        if _looks_delivered(folder):
            continue
        spool = claim_run(folder)
        if spool is None:
            continue
        config = spool.opening().get("config", {})
        if spool.pending and config.get("mode") == "online" and config.get("url") == url:
            yield spool
        else:
            spool.close()


def _looks_delivered(folder: Path) -> bool:
    """Say whether the last line of the records is acknowledged, without reading the others."""
    try:
        sent = json.loads((folder / SENT).read_bytes())["seq"]
        with (folder / RECORDS).open("rb") as file:
            file.seek(max(0, (folder / RECORDS).stat().st_size - 65_536))
            last = file.read().rstrip().rpartition(b"\n")[2]
        return bool(json.loads(last)["seq"] == sent)
    except (OSError, ValueError, KeyError, TypeError):
        return False
