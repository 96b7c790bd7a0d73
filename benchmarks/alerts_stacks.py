"""The servers that `benchmarks.alerts` measures, as a user and as a team start them, and what their databases say."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.processes.machinery import REPOSITORY, environment, running, serving
from tests.temporary.postgres import temporary_postgres
from tests.temporary.redis import temporary_redis

MOMENTS = """
SELECT step.received, run.queued, run.started, alert.at
FROM training_trainsession session
JOIN training_trainstep step ON step.session_id = session.id AND step.epoch = {epoch}
JOIN diagnostics_diagnosticrun run ON run.session_id = session.id AND run.trigger = 'automatic'
JOIN diagnostics_alert alert ON alert.session_id = session.id
WHERE session.name = '{name}' ORDER BY alert.id LIMIT 1
"""
AS_SHIPPED = {"MLDIAG_LEASE_SECONDS": "90", "MLDIAG_SWEEP_SECONDS": "10"}


@dataclass(frozen=True)
class Stack:
    """A server that is up. ``ask`` puts a query to its database, ``floor`` is where the floor may keep its rows."""

    title: str
    url: str
    floor: str
    ask: Callable[[str], tuple[Any, ...]]

    def moments(self, name: str, epoch: int) -> list[float]:
        """Return when an epoch of a session was received, its diagnosis queued and begun, and its first alert made,
        in milliseconds since 1970."""
        return [1000 * _seconds(each) for each in self.ask(MOMENTS.format(name=name, epoch=epoch))]


def _seconds(moment: str | datetime) -> float:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return moment.timestamp()


@contextlib.contextmanager
def embedded(home: Path) -> Iterator[Stack]:
    """``mldiag serve``: one process, SQLite."""

    def ask(query: str) -> tuple[Any, ...]:
        with contextlib.closing(sqlite3.connect(home / "mldiag.sqlite3")) as connection:
            row: tuple[Any, ...] = connection.execute(query).fetchone()
            return row

    with serving(home, **AS_SHIPPED) as (_, url):
        yield Stack("embedded, SQLite", url, str(home / "floor.sqlite3"), ask)


@contextlib.contextmanager
def team(home: Path) -> Iterator[Stack]:
    """What ``compose.yaml`` starts: two web processes, Celery, PostgreSQL (durable), Valkey."""
    with temporary_postgres(settings=()) as database, temporary_redis() as redis, contextlib.ExitStack() as programs:
        variables = environment(
            home,
            **AS_SHIPPED,
            DATABASE_URL=database,
            REDIS_URL=redis,
            SECRET_KEY="of-this-benchmark-alone-and-long-enough-to-be-taken-for-one-83c1f5",
            MLDIAG_AUTH="open",
        )
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=REPOSITORY, env=variables, check=True)
        alone = variables | {"DATABASE_POOL": "false"}

        def start(name: str, variables: dict[str, str], *command: str) -> Any:
            return programs.enter_context(running([sys.executable, "-m", *command], variables, home / f"{name}.log"))

        web = start("web", variables, "uvicorn", "mldiag.asgi:application", "--port", "0", "--workers", "2")
        worker = start("worker", alone, "celery", "-A", "mldiag", "worker", "--loglevel", "info")
        start("beat", alone, "celery", "-A", "mldiag", "beat")
        url = web.wait_until_said("Uvicorn running on ").split("running on ")[1].split()[0]
        worker.wait_until_said(" ready.")

        def ask(query: str) -> tuple[Any, ...]:
            with psycopg.connect(database) as connection:
                row = connection.execute(query).fetchone()
                assert row is not None
                return row

        yield Stack("team, PostgreSQL and Valkey", url, database, ask)


STACKS = {"embedded": embedded, "team": team}
