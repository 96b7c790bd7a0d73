"""Brings the records of one run to the server, in order, each at least once; sending twice is harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from observer_client.connection import Connection, Refused, Unavailable
from observer_client.guard import log
from observer_client.runfolder import Entry
from observer_client.spool import Spool

_NOT_THE_RECORDS_FAULT = frozenset({401, 403})
_REFUSALS = frozenset({"conflict", "rejected"})
_LISTS = {"epoch": "epochs", "log": "logs"}


class Delivery:
    """Delivers what a spool holds.

    What the server refuses for good is noted in the spool and passed over, with one exception: a refused key or a
    refused opening stops the whole run, because the records are not to blame and can be sent once that is put right.
    """

    def __init__(self, spool: Spool, connection: Connection, wait: int = 0) -> None:
        """``wait`` is how many seconds the ending waits for the diagnosis."""
        self.spool = spool
        self.connection = connection
        self.diagnosis: dict[str, Any] | None = None
        self.delivered = 0
        self._wait = wait
        self._key = ""
        self._warned = False
        self._lost_at = 0
        """Number of the last record that was under way when the server was last found to have lost the run."""
        self._in_vain = False
        """Whether telling everything again did not help: then the server has no such place at all."""

    @property
    def opened(self) -> bool:
        """Whether the server knows the run."""
        return self.spool.acknowledged > 0

    def run(self, between: Callable[[], None] | None = None) -> None:
        """Send everything that is not acknowledged.

        ``between`` is called after each request that went well.
        Raises Unavailable (try again later) and Refused (nothing of this run is wanted).
        """
        while batch := self._next():
            try:
                self._send(batch)
            except Refused as error:
                if error.status in _NOT_THE_RECORDS_FAULT or batch[0].kind == "opening":
                    raise
                if self._is_lost(error, batch[-1]):
                    # The server lost the session, perhaps its whole database: tell it everything again.
                    self._lost_at = batch[-1].seq
                    self.spool.rewind()
                    continue
                self._reject(batch[0], str(error))
            self.spool.acknowledge(batch[-1])
            self.delivered += len(batch)
            if between:
                between()

    def _is_lost(self, error: Refused, last: Entry) -> bool:
        """Say whether the server may have lost the run: once for each record that it got further since."""
        if error.status != 404:
            return False
        self._in_vain = self._in_vain or last.seq <= self._lost_at
        return not self._in_vain

    def beat(self, progress: dict[str, Any]) -> None:
        """Say that the run is alive. Raises Unavailable and Refused."""
        self.connection.send("POST", f"{self._path()}/heartbeat", progress)

    def _path(self) -> str:
        if not self._key:
            key = self.spool.opening().get("key")
            if not key:
                raise Refused(0, f"{self.spool.folder} does not say which run it holds: its opening is missing")
            self._key = str(key)
        return f"/api/sessions/{self._key}"

    def _next(self) -> list[Entry]:
        """Return the next entries that can travel together: epochs and logs mixed, all else alone."""
        batch: list[Entry] = []
        for entry in self.spool.unsent():
            if entry.kind not in _LISTS:
                return batch or [entry]
            batch.append(entry)
        return batch

    def _send(self, batch: list[Entry]) -> None:
        first = batch[0]
        match first.kind:
            case "opening":
                answer = self.connection.send("PUT", self._path(), first.data)
                self.spool.address = {name: answer[name] for name in ("id", "url") if name in answer}
            case "update":
                self.connection.send("PATCH", self._path(), first.data)
            case "architecture":
                self.connection.send("PUT", f"{self._path()}/model", first.data)
            case "ending":
                prefer = f"wait={self._wait}" if self._wait else "respond-async"
                answer = self.connection.send("POST", f"{self._path()}/finish", first.data, prefer, longer=self._wait)
                self.diagnosis = answer.get("diagnosis")
                self.spool.address.update({name: answer[name] for name in ("id", "url") if name in answer})
            case _:
                for kind in _LISTS:
                    self._send_list(kind, [entry for entry in batch if entry.kind == kind])

    def _send_list(self, kind: str, batch: list[Entry]) -> None:
        if not batch:
            return
        name = _LISTS[kind]
        try:
            answer = self.connection.send("POST", f"{self._path()}/{name}", {name: [entry.data for entry in batch]})
        except Refused as error:
            if self._is_lost(error, batch[-1]) or error.status in _NOT_THE_RECORDS_FAULT:
                raise
            if len(batch) == 1:
                self._reject(batch[0], str(error))
                return
            # One of them is bad, or all are too much at once: find out which.
            half = len(batch) // 2
            self._send_list(kind, batch[:half])
            self._send_list(kind, batch[half:])
            return
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(batch):
            raise Unavailable(f"{self.connection.url} did not say what became of {len(batch)} {name}")
        for entry, result in zip(batch, results, strict=True):
            status = result.get("status") if isinstance(result, dict) else None
            if status in _REFUSALS:
                self._reject(entry, f"{status}: {result.get('error') or 'no reason given'}")

    def _reject(self, entry: Entry, reason: str) -> None:
        self.spool.reject(entry, reason)
        if not self._warned:
            self._warned = True
            log.warning(
                "mldiag: the server refused %s %d: %s (it stays in %s)",
                entry.kind,
                entry.seq,
                reason,
                self.spool.records,
            )
