"""Where the records of one run go: the folder first, then the server; and what is said about it on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from observer_client.config import ObserverConfig
from observer_client.connection import Connection
from observer_client.environment import code
from observer_client.leftovers import undelivered
from observer_client.record import Opening
from observer_client.runfolder import folder_name
from observer_client.sender import Outcome, Progress, Sender
from observer_client.spool import Spool
from observer_client.terminal import is_notebook, say

DIAGNOSIS_SECONDS = 5


class Recording:
    """One run being recorded. ``progress`` tells a heartbeat how far the training is, ``folder`` holds a resumed run.

    ``patience`` is how many seconds `finish` waits for the delivery.
    """

    def __init__(self, config: ObserverConfig, opening: Opening, progress: Progress, folder: Path | None) -> None:
        self._config = config
        self.patience = config.close_seconds
        self._directory = Path(config.directory).absolute()
        self.spool = Spool(
            folder or self._directory / folder_name(opening.run_name or "", opening.key), config.max_spool_mb
        )
        self.spool.claim()
        self.spool.append("opening", opening)
        online = config.mode == "online"
        self._sender = Sender(
            self.spool,
            Connection(config.url, config.api_key) if online else None,
            heartbeat=config.heartbeat_seconds,
            diagnosis_seconds=int(min(DIAGNOSIS_SECONDS, config.close_seconds)),
            chores=self._add_code,
            progress=progress,
            older=self._older,
            announce=self._announce,
        )
        self._sender.start()
        if not online:
            self._greet(f"recording to {self.spool.folder}")

    def write(self, kind: str, data: Any) -> None:
        """Keep a record, and send it when the network allows."""
        self.spool.append(kind, data)
        self._sender.ring()

    def finish(self) -> Outcome:
        """Deliver the rest, say how it went, close the files."""
        self.spool.settle()
        outcome = self._sender.finish(self.patience)
        self.spool.sync()
        self._say(self._farewell(outcome))
        self.spool.close()
        return outcome

    def _add_code(self) -> None:
        if found := code():
            self.spool.append("update", {"environment": found})

    def _older(self) -> Iterator[Spool]:
        return undelivered(self._directory, Connection(self._config.url).url)

    def _announce(self, url: str | None, trouble: str | None) -> None:
        if trouble is None:
            self._greet(f"observing · {url or self._config.url}")
        else:
            self._greet(f"no server yet ({trouble}); recording to {self.spool.folder}")

    def _greet(self, text: str) -> None:
        # It may come while another cell of a notebook runs, and would stand there.
        if not is_notebook():
            self._say(text)

    def _farewell(self, outcome: Outcome) -> str:
        if outcome.pending:
            if in_memory := self.spool.in_memory:
                return f"{in_memory} records could neither be written to {self.spool.folder} nor sent"
            return (
                f"{outcome.pending} records kept in {self.spool.folder}; run: mldiag-observer sync {self.spool.folder}"
            )
        found = outcome.diagnosis
        verdict = f"score {found.get('health_score')}/100 · {_counts(found)}" if found else "delivered"
        return " · ".join(part for part in (verdict, outcome.url) if part)

    def _say(self, text: str) -> None:
        if not self._config.quiet:
            say(f"mldiag: {text}")


def _counts(diagnosis: dict[str, Any]) -> str:
    """Return the issues by severity in words.

    >>> _counts({"critical": 1, "warning": 2, "info": 0})
    '1 critical, 2 warnings'
    """
    words = (("critical", "critical", "critical"), ("warning", "warning", "warnings"), ("info", "info", "infos"))
    counts = [(diagnosis.get(key) or 0, one, many) for key, one, many in words]
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count) or "no issues"
