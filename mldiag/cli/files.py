"""From command-line arguments to bytes: files, folders of runs, standard input, gzip."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mldiag.cli.recorded import UnreadableRun
from observer_client.runfolder import RECORDS

TRAINER_STATE = "trainer_state.json"
EXPORTS = ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz")
LARGEST = 2 * 2**30
"""Bytes of one run, unpacked. A small gzip file can unpack to anything."""

_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (a PyTorch checkpoint is one)",
    b"\x80": "a pickle (a PyTorch or scikit-learn file)",
    b"\x89PNG": "a PNG image",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"SQLite": "an SQLite database",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One run to judge: how it was named on the command line, and the file that holds it (None: standard input)."""

    name: str
    path: Path | None

    def load(self) -> bytes:
        """Return the content, unpacked. Raises UnreadableRun."""
        try:
            data = sys.stdin.buffer.read(LARGEST + 1) if self.path is None else _read(self.path)
        except OSError as error:
            raise UnreadableRun(f"cannot be read: {error.strerror or error}") from error
        if data[:2] == _GZIP:
            data = _unpack(data)
        if len(data) > LARGEST:
            raise UnreadableRun(f"holds more than {LARGEST >> 30} GiB")
        if foreign := next((what for start, what in _FOREIGN.items() if data.startswith(start)), None):
            raise UnreadableRun(f"is {foreign}, not a run")
        return data


def sources(arguments: list[str]) -> Iterator[Source | tuple[str, UnreadableRun]]:
    """Yield what the arguments name; a folder of runs yields each run, a name without a run its error."""
    for name in arguments:
        path = Path(name)
        if name == "-":
            yield Source("standard input", None)
        elif path.is_dir():
            try:
                yield from _within(path)
            except UnreadableRun as error:
                yield name, error
        elif not path.exists():
            yield name, UnreadableRun("no such file or folder")
        else:
            yield Source(name, path)


def _within(folder: Path) -> Iterator[Source]:
    if (folder / RECORDS).is_file():
        yield Source(str(folder), folder / RECORDS)
        return
    if trained := _latest_state(folder):
        yield Source(str(trained), trained)
        return
    try:
        runs = sorted(each for each in folder.iterdir() if (each / RECORDS).is_file())
        exports = sorted({each for pattern in EXPORTS for each in folder.glob(pattern) if each.is_file()})
    except OSError as error:
        raise UnreadableRun(f"cannot be read: {error.strerror}") from error
    if not runs and not exports:
        raise UnreadableRun(f"holds no run: neither {RECORDS}, nor folders that hold one, nor .json files")
    yield from (Source(str(each), each / RECORDS) for each in runs)
    yield from (Source(str(each), each) for each in exports)


def _latest_state(folder: Path) -> Path | None:
    """Return the file in a Hugging Face Trainer's output folder that tells most of its run: the latest one."""
    found = (folder / TRAINER_STATE, *folder.glob(f"checkpoint-*/{TRAINER_STATE}"))
    return max((each for each in found if each.is_file()), key=_checkpoint, default=None)


def _checkpoint(state: Path) -> tuple[bool, int]:
    step = state.parent.name.rpartition("-")[2]
    return not state.parent.name.startswith("checkpoint-"), int(step) if step.isdigit() else 0


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise UnreadableRun(f"holds more than {LARGEST >> 30} GiB")
        return file.read(LARGEST + 1)


def _unpack(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableRun("is a gzip file that is damaged or was cut off", detail=str(error)) from error
