"""Records a run in its folder: every record goes there first, whatever becomes of the network."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from observer_client.guard import log
from observer_client.locks import try_lock, unlock
from observer_client.record import to_json
from observer_client.runfolder import LOCK, RECORDS, SENT, Entry, copy_without, entries, oldest_logs

KEPT_IN_MEMORY = 10_000
KEPT_BYTES = 10_000_000
MOST_REJECTED = 1_000
"""Refused records that are named in ``sent.json``, which is written anew again and again."""
KEPT_SHARE = 0.8
"""What is left of a file that became too large."""
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_WORTH = {"log": 0, "epoch": 1, "update": 2, "architecture": 3, "opening": 4, "ending": 4}


class Spool:
    """Appends records, hands out the unsent ones, remembers what was acknowledged. Thread-safe."""

    def __init__(self, folder: Path, max_mb: int = 256) -> None:
        """Open the run in ``folder``, new or old. A folder that cannot be written is no error: see `append`.

        Above ``max_mb`` MiB the oldest log lines are dropped.
        """
        self._most = self._next_look = max_mb << 20
        self.folder = folder
        self.records = folder / RECORDS
        self.acknowledged = 0
        self.rejected: list[dict[str, Any]] = []
        self.address: dict[str, Any] = {}
        """What the server answered to the opening: ``id`` and ``url``."""
        self.seq = 0
        self.ended = False
        """Whether the records say how the run ended."""
        self._offset = 0
        self._generation = self._read_generation = 0
        """How often the file was written anew, and when it was last read: offsets hold for one of them."""
        self._thinned = False
        self._inbox: deque[tuple[str, str]] = deque()
        self._writing = False
        self._memory: deque[Entry] = deque()
        self._file: int | None = None
        self._lock_file: int | None = None
        self._guard = threading.RLock()
        self._warned = False
        if self.records.exists():
            self._resume()

    def _resume(self) -> None:
        for entry in entries(self.records):
            self._note_kind(entry.seq, entry.kind)
        try:
            sent = json.loads((self.folder / SENT).read_bytes())
            self.acknowledged, self.rejected = int(sent["seq"]), list(sent["rejected"])
            self.address = dict(sent.get("session", {}))
        except (OSError, ValueError, KeyError, TypeError):
            # Sending again is harmless, so a lost note costs nothing but time.
            self.acknowledged, self.rejected = 0, []

    @property
    def pending(self) -> int:
        """How many records the server has not acknowledged yet."""
        return self.seq - self.acknowledged

    @property
    def in_memory(self) -> int:
        """How many records that are not acknowledged could not be written to disk."""
        with self._guard:
            return sum(entry.seq > self.acknowledged for entry in self._memory)

    def append(self, kind: str, data: Any) -> None:
        """Write a record, handed over to the operating system on return.

        When the disk refuses, the record is kept in memory (the last `KEPT_IN_MEMORY` of them, or `KEPT_BYTES`) and
        written as soon as the disk takes it again.
        """
        self._inbox.append((kind, to_json(data)))
        with self._guard:
            # A signal handler or a finalizer that logs gets here in the middle of another `append` of its own
            # thread: that one goes on afterwards and writes both, in order.
            if not self._writing:
                self.settle()

    def settle(self) -> None:
        """Write what was appended in the middle of an `append` that may never go on, at the end of a process."""
        with self._guard:
            self._writing = True
            try:
                while self._inbox:
                    first = self._inbox[0]
                    self._keep(*first)
                    if self._inbox and self._inbox[0] is first:
                        self._inbox.popleft()
            finally:
                self._writing = False

    def _keep(self, kind: str, body: str) -> None:
        seq = self.seq + 1
        line = f'{{"seq":{seq},"kind":"{kind}","data":{body}}}\n'
        if self._memory or not self._write(line):
            self._memory.append(Entry(seq, kind, json.loads(body), len(line)))
            self._retry_memory()
        self._note_kind(seq, kind)

    def _note_kind(self, seq: int, kind: str) -> None:
        self.seq = seq
        if kind in ("opening", "ending"):
            # A resumed run opens once more after its end.
            self.ended = kind == "ending"

    def _write(self, line: str) -> bool:
        data = line.encode("ascii")
        try:
            if self._file is None:
                self._file = self._open()
            elif not os.fstat(self._file).st_nlink:
                self._file = self._restore(self._file)
            start = os.fstat(self._file).st_size
            if start > self._next_look:
                self._file = self._thin_out(self._file)
                start = os.fstat(self._file).st_size
            if os.write(self._file, data) == len(data):
                return True
            # A full disk took half a line: take it back, or the next line would grow onto it.
            os.ftruncate(self._file, start)
            raise OSError("the disk is full")
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning("mldiag: cannot write %s (%s); records are kept in memory", self.records, error)
            return False

    def _open(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.records, _FLAGS, 0o644)
        if os.fstat(file).st_size:
            os.lseek(file, -1, os.SEEK_END)
            if os.read(file, 1) != b"\n":
                # The process before died in the middle of a line.
                os.write(file, b"\n")
        return file

    def _thin_out(self, file: int) -> int:
        """Drop the oldest log lines, errors last, and return the file that is left. Epochs are never dropped."""
        size = os.fstat(file).st_size
        doomed = oldest_logs(self.records, size - int(KEPT_SHARE * self._most))
        self._next_look = max(self._most, size + self._most // 10)
        if not doomed:
            return file
        draft = self.records.with_name(f"{RECORDS}.{os.getpid()}")
        # A disk that is full keeps the file as it is.
        copy_without(self.records, draft, doomed)
        draft.replace(self.records)
        os.close(file)
        self._offset, self._generation = 0, self._generation + 1
        self._next_look = max(self._most, self.records.stat().st_size + self._most // 10)
        if not self._thinned:
            self._thinned = True
            log.warning("mldiag: %s is larger than max_spool_mb: its oldest log lines are dropped", self.records)
        return os.open(self.records, _FLAGS, 0o644)

    def _restore(self, removed: int) -> int:
        """Write the run anew after somebody removed its folder: the open file still has all of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.records, _FLAGS | os.O_TRUNC, 0o644)
        os.lseek(removed, 0, os.SEEK_SET)
        try:
            while piece := os.read(removed, 1 << 20):
                if os.write(file, piece) < len(piece):
                    raise OSError("the disk is full")
        except OSError:
            os.close(file)
            raise
        os.close(removed)
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
            self.claim()
        log.warning("mldiag: %s was removed; the run is recorded there anew", self.folder)
        return file

    def _retry_memory(self) -> None:
        while self._memory:
            entry = self._memory[0]
            line = to_json({"seq": entry.seq, "kind": entry.kind, "data": entry.data}) + "\n"
            if not self._write(line):
                break
            self._memory.popleft()
        while len(self._memory) > KEPT_IN_MEMORY or len(self._memory) > 1 and self._bytes() > KEPT_BYTES:
            # What opens and ends a run outlives its measurements; what was delivered goes first.
            self._memory.remove(min(self._memory, key=self._worth))

    def _bytes(self) -> int:
        return sum(entry.size for entry in self._memory)

    def _worth(self, entry: Entry) -> tuple[bool, int]:
        return entry.seq > self.acknowledged, _WORTH[entry.kind]

    def sync(self) -> None:
        """Ask the disk to keep what was written. May take long: never on the training's thread but at its end."""
        with self._guard:
            file = self._file
        if file is not None:
            try:
                os.fsync(file)
            except OSError as error:
                log.debug("mldiag: fsync of %s failed: %s", self.records, error)

    def unsent(self, most: int = 1000, most_bytes: int = 2_000_000) -> list[Entry]:
        """Return the first records that are not acknowledged, at most ``most`` of about ``most_bytes`` together."""
        found: list[Entry] = []
        size = 0
        for entry in self._after():
            if found and (len(found) >= most or size + entry.size > most_bytes):
                break
            found.append(entry)
            size += entry.size
        return found

    def _after(self) -> Iterator[Entry]:
        with self._guard:
            memory, self._read_generation = list(self._memory), self._generation
        last = self.acknowledged
        # An entry may move from memory to the file meanwhile: each number is handed out once.
        for entry in chain(entries(self.records, self._offset), memory):
            if entry.seq > last:
                last = entry.seq
                yield entry

    def opening(self) -> dict[str, Any]:
        """Return the data of the run's opening, empty when it has none."""
        with self._guard:
            first = next(chain(entries(self.records), self._memory), None)
        return first.data if first and first.kind == "opening" else {}

    def everything(self) -> list[Entry]:
        """Return all records of the run, oldest first."""
        with self._guard:
            return [*entries(self.records), *self._memory]

    def acknowledge(self, entry: Entry) -> None:
        """Note that the server has everything up to and including ``entry``, or refused it for good."""
        self.acknowledged = entry.seq
        if entry.end is not None and self._read_generation == self._generation:
            self._offset = entry.end
        self.note()

    def reject(self, entry: Entry, reason: str) -> None:
        """Note that the server refused ``entry`` for good: the first `MOST_REJECTED`. The record stays on disk."""
        if len(self.rejected) < MOST_REJECTED and all(each["seq"] != entry.seq for each in self.rejected):
            self.rejected.append({"seq": entry.seq, "kind": entry.kind, "reason": reason[:500]})

    def rewind(self) -> None:
        """Forget all acknowledgements: the server lost the session."""
        self.acknowledged, self._offset, self.rejected = 0, 0, []

    def note(self) -> None:
        """Write ``sent.json``."""
        state = {"seq": self.acknowledged, "rejected": self.rejected, "session": self.address}
        draft = self.folder / f"{SENT}.{os.getpid()}"
        try:
            draft.write_text(json.dumps(state))
            draft.replace(self.folder / SENT)
        except OSError as error:
            log.debug("mldiag: cannot write %s: %s", self.folder / SENT, error)

    def claim(self) -> bool:
        """Become the only process that sends this run. False when another one is; freed when the process ends."""
        if self._lock_file is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock_file = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError:
                return True
            if not try_lock(self._lock_file):
                self._close_files()
                return False
        return True

    def close(self) -> None:
        """Close the files and free the claim, also for forked children that still hold the file."""
        if self._lock_file is not None:
            unlock(self._lock_file)
        self._close_files()

    def _close_files(self) -> None:
        with self._guard:
            files, self._file, self._lock_file = (self._file, self._lock_file), None, None
        for file in files:
            if file is not None:
                os.close(file)

    def forget(self) -> None:
        """Let go in a forked child: its copies of the files are closed, the parent's claim stays."""
        self._guard, self._writing = threading.RLock(), False
        self._inbox.clear()
        self._close_files()
