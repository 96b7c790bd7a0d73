"""Which process of a distributed training this is, and where the processes leave word for rank 0.

Ranks never talk to each other on our account: a collective of ours, or a connection, could wait for a rank that is
gone. Each rank but 0 leaves its latest figures in a file, rank 0 reads what is there, and nobody waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from observer_client.config import ObserverConfig
from observer_client.guard import log

_JOB = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
"""Variables that launchers set alike for all ranks of a job, and differently for another job."""
_READER = "reader"
_OFF = (
    "track_profiler",
    "track_layer_health",
    "track_phases",
    "track_carbon_emissions",
    "track_per_class_metrics",
    "track_gradient_histogram",
    "track_attention_patterns",
    "track_activation_histogram",
    "track_memory",
    "track_system",
    "capture_logs",
)


def rank() -> int:
    """Return the rank of this process: what torch.distributed says, else the launcher, else 0."""
    group = _group()
    if group is not None:
        return int(group.get_rank())
    for name in ("RANK", "LOCAL_RANK"):
        if (text := os.environ.get(name, "")).isdigit():
            return int(text)
    return 0


def world_size() -> int:
    """Return how many processes train together, 1 until they have found each other."""
    group = _group()
    return 1 if group is None else int(group.get_world_size())


def _group() -> Any:
    # Looked up, never imported on our account: a training that is distributed has it loaded.
    group = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_available() and group.is_initialized() else None


def follower_settings(config: ObserverConfig) -> ObserverConfig:
    """Return the settings of a rank that does not report: it measures what rank 0 compares, says why it crashed, and
    no more.
    """
    return replace(config, **dict[str, Any](dict.fromkeys(_OFF, False)))


class DropBox:
    """A folder in which every rank has a file of its own."""

    def __init__(self, config: ObserverConfig) -> None:
        # Where a folder is named for it, that one is the meeting point; otherwise the job must be told from others.
        named = config.ranks_directory
        self.folder = Path(named).absolute() if named else Path(config.directory).absolute() / f".ranks-{_job()}"
        self._said = False

    def open(self) -> None:
        """Say that rank 0 reads here from now on; what an earlier run of the same job left is removed."""
        self.clear()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _READER).touch()
        except OSError as error:
            log.warning("mldiag: ranks cannot be compared, %s cannot be written: %s", self.folder, error)

    def put(self, sender: int, digests: list[dict[str, Any]]) -> None:
        """Replace what ``sender`` left, if rank 0 reads it."""
        self._put("rank", sender, digests)

    def put_crash(self, sender: int, word: dict[str, Any]) -> None:
        """Say why ``sender`` crashed, if rank 0 reads it."""
        self._put("crash", sender, word)

    def _put(self, kind: str, sender: int, word: Any) -> None:
        if not (self.folder / _READER).exists():
            return
        draft = self.folder / f"{kind}-{sender}.{os.getpid()}.draft"
        try:
            draft.write_text(json.dumps(word))
            draft.replace(self.folder / f"{kind}-{sender}.json")
        except OSError as error:
            if not self._said:
                self._said = True
                log.warning("mldiag: rank %d cannot leave word for rank 0 in %s: %s", sender, self.folder, error)

    def take(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield what the other ranks left last; files that cannot be read are passed over."""
        for sender, word in self._take("rank"):
            with suppress(ValueError, TypeError):
                yield sender, [dict(each) for each in word]

    def take_crashes(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield which ranks crashed, and their words."""
        for sender, word in self._take("crash"):
            with suppress(ValueError, TypeError):
                yield sender, dict(word)

    def _take(self, kind: str) -> Iterator[tuple[int, Any]]:
        for path in sorted(self.folder.glob(f"{kind}-*.json")):
            try:
                found = int(path.stem.partition("-")[2]), json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            yield found

    def clear(self) -> None:
        """Remove what ranks left."""
        try:
            for path in (self.folder / _READER, *self.folder.glob("rank-*"), *self.folder.glob("crash-*")):
                path.unlink(missing_ok=True)
            self.folder.rmdir()
        except OSError:
            # It is not there, or somebody else keeps something in it.
            return


def _job() -> str:
    told = [os.environ.get(name, "") for name in _JOB]
    # Without a launcher the ranks have at least their parent in common.
    text = "\n".join(told) if any(told) else str(os.getppid())
    return hashlib.sha256(text.encode()).hexdigest()[:12]
