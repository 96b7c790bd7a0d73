"""Delivers recorded runs later: what ``mldiag-observer sync`` and ``mldiag sync`` do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from observer_client.config import ObserverConfig
from observer_client.connection import Connection, Refused, Unavailable
from observer_client.delivery import Delivery
from observer_client.leftovers import claim_run, run_folders
from observer_client.spool import Spool

ATTEMPTS = 4
LONGEST_WAIT = 60.0


@dataclass(slots=True)
class SyncResult:
    """``sent`` and ``pending`` count records; ``rejected`` those the server refused for good, now or before.

    ``runs`` says how many run folders were found, ``problems`` what went wrong, a sentence each.
    """

    runs: int = 0
    sent: int = 0
    pending: int = 0
    rejected: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the server now has every record that it is willing to take, of every run."""
        return not self.pending and not self.problems


def sync(
    directory: str | Path,
    url: str | None = None,
    api_key: str | None = None,
    *,
    report: Callable[[str], object] = lambda line: None,
) -> SyncResult:
    """Send what the server has not acknowledged of the run, or of all runs, in ``directory``.

    ``url`` and ``api_key`` default to ``MLDIAG_URL`` and ``MLDIAG_API_KEY``. ``report`` is told each line of progress.
    Sending again what the server has is harmless, so an interrupted sync can be repeated.
    Raises FileNotFoundError when ``directory`` does not exist and ValueError for a bad ``url``.
    """
    folder = Path(directory)
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist")
    config = ObserverConfig(url=url) if url else ObserverConfig()
    connection = Connection(config.url, api_key or config.api_key)
    result = SyncResult()
    try:
        for run in run_folders(folder.parent if folder.is_file() else folder):
            result.runs += 1
            _sync_run(run, connection, result, report)
    finally:
        connection.close()
    return result


def _sync_run(folder: Path, connection: Connection, result: SyncResult, report: Callable[[str], object]) -> None:
    spool = claim_run(folder)
    if spool is None:
        busy = f"{folder.name}: still being recorded by a running process, which sends it itself when online"
        result.problems.append(busy)
        report(busy)
        return
    delivery = Delivery(spool, connection)
    problem: str | None = None
    try:
        if spool.pending:
            _deliver(delivery)
    except Unavailable as error:
        problem = f"{folder.name}: {error.reason}"
    except Refused as error:
        problem = f"{folder.name}: refused, {error}"
    finally:
        spool.close()
    _count(result, spool, delivery, problem)
    report(problem or _summary(spool, delivery))


def _count(result: SyncResult, spool: Spool, delivery: Delivery, problem: str | None) -> None:
    result.sent += delivery.delivered
    result.pending += spool.pending
    result.rejected += len(spool.rejected)
    if problem:
        result.problems.append(problem)


def _deliver(delivery: Delivery) -> None:
    for attempt in range(ATTEMPTS):
        try:
            delivery.run()
            return
        except Unavailable as error:
            wait = 0.5 * 2**attempt if error.retry_after is None else error.retry_after
            # Nobody waits for a server that was never there.
            if attempt == ATTEMPTS - 1 or wait > LONGEST_WAIT or not delivery.delivered and error.retry_after is None:
                raise
            _pause(wait)


def _pause(seconds: float) -> None:
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        sleep(left)


def _summary(spool: Spool, delivery: Delivery) -> str:
    words = [
        f"{spool.folder.name}: {delivery.delivered} records sent"
        if delivery.delivered
        else f"{spool.folder.name}: up to date"
    ]
    if spool.rejected:
        words.append(f"{len(spool.rejected)} refused for good (see {spool.folder / 'sent.json'})")
    if url := spool.address.get("url"):
        words.append(str(url))
    return " · ".join(words)
