"""Metrics of an evaluation that comes after the training, whose run is over by then."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from observer_client.connection import Connection, Refused, Unavailable
from observer_client.delivery import Delivery
from observer_client.guard import harmless, log
from observer_client.leftovers import claim_run
from observer_client.observer import Observer
from observer_client.runfolder import RECORDS
from observer_client.spool import Spool

_EPOCH = b',"kind":"epoch",'
FINAL = "final_"
_lock = threading.Lock()
_under_way: dict[Path, Spool] = {}
"""What a thread delivers right now: metrics that come meanwhile join it."""


@harmless
def tell_afterwards(observer: Observer, metrics: Mapping[str, float]) -> None:
    """Add ``metrics`` to the last epoch of ``observer``, open or closed; waits for nobody.

    A metric that the epoch has with another value, as that of a better epoch whose weights were loaded again, is
    called `FINAL` and its name: the curve stays what it was.
    """
    folder = observer.folder
    if folder is None or not metrics:
        return
    last = last_epoch(folder / RECORDS)
    if last is None or not (found := _added(last, metrics)):
        return
    if observer._live:
        observer._epochs.again_as(last["epoch"], found["attempt"])
        observer._write("epoch", found)
        return
    with _lock:
        if (under_way := _under_way.get(folder)) is not None:
            under_way.append("epoch", found)
            return
        spool = claim_run(folder)
        if spool is None:
            log.warning("mldiag: the run in %s is held by another process: metrics after its end are left out", folder)
            return
        spool.append("epoch", found)
        if observer.config.mode != "online":
            spool.close()
            return
        _under_way[folder] = spool
    try:
        # Not a daemon: a script ends right after its last evaluation.
        threading.Thread(target=_deliver, args=(folder, spool, observer), name="mldiag-afterwards").start()
    except RuntimeError:
        # No thread to be had: the next run delivers it.
        _release(folder, spool)


def _release(folder: Path, spool: Spool) -> None:
    with _lock:
        if _under_way.get(folder) is spool:
            del _under_way[folder]
            spool.close()


def _is_done(folder: Path, spool: Spool) -> bool:
    """Let go of ``spool`` unless more came meanwhile."""
    with _lock:
        if spool.unsent():
            return False
        del _under_way[folder]
        spool.close()
        return True


def last_epoch(records: Path) -> dict[str, Any] | None:
    """Return the data of the epoch that was recorded last, None without one."""
    line = b""
    with records.open("rb") as file:
        for each in file:
            # Only one of them is worth reading whole.
            if _EPOCH in each[:64] and each.endswith(b"\n"):
                line = each
    return dict(json.loads(line)["data"]) if line else None


def _added(last: dict[str, Any], metrics: Mapping[str, float]) -> dict[str, Any] | None:
    losses = dict(last.get("loss") or {})
    known = dict(losses.get("val") or {})
    fresh = {}
    for name, value in metrics.items():
        if known.get(name) is None:
            fresh[name] = value
        elif not _same(known[name], value):
            fresh[f"{FINAL}{name}"] = value
    if not fresh:
        return None
    return {**last, "attempt": int(last.get("attempt") or 0) + 1, "loss": {**losses, "val": {**known, **fresh}}}


def _same(told: Any, value: float) -> bool:
    # A number that is not finite is a word in the records.
    return math.isclose(float(told), value, rel_tol=1e-6) or math.isnan(float(told)) and math.isnan(value)


@harmless
def _deliver(folder: Path, spool: Spool, observer: Observer) -> None:
    config = observer.config
    connection = Connection(config.url, config.api_key, max(0.1, min(10.0, config.close_seconds)))
    try:
        delivery = Delivery(spool, connection)
        delivery.run()
        while not _is_done(folder, spool):
            delivery.run()
    except (Unavailable, Refused) as error:
        log.warning("mldiag: metrics after the end are kept in %s: %s", spool.folder, error)
    finally:
        connection.close()
        _release(folder, spool)
