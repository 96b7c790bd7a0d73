"""How fast pages and lists answer, with few sessions and with many: ``python -m benchmarks.pages``.

For each size a database is filled (`benchmarks.pages_store`: 100 epochs a session, a million rows of them for 10,000)
and served over HTTP by the real application to a person who is logged in. Each page is asked for from all sizes in
turns, so that what else the machine does falls on all of them; the ratio is what counts. At the end stand the
questions that other trackers get asked, too, beside MLflow where it is installed (`benchmarks.pages_peer`).

    python -m benchmarks.pages [--sizes 100 1000 10000] [--requests 40] [--databases postgresql sqlite]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import pages_peer
from benchmarks.ingest import server
from benchmarks.pages_store import PERSON
from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import temporary_folder

GOAL_GROWTH = 1.2
WARM_UP = 3
PAGES = {
    "home": "/",
    "project": "/projects/{project}",
    "project, last page": "/projects/{project}?page={pages}",
    "project by duration": "/projects/{project}?sort=-duration",
    "project by health": "/projects/{project}?sort=score",
    "project by validation loss": "/projects/{project}?sort=val",
    "project by a metric": "/projects/{project}?columns=name,metric.metric_3&sort=metric.metric_3",
    "project, a name searched for": "/projects/{project}?q=run+00042",
    "project, status": "/projects/{project}?status=finished",
    "project, tag": "/projects/{project}?tag=tuning",
    "project, limits": "/projects/{project}/policy",
    "project, members and keys": "/projects/{project}/access",
    "project, problems": "/projects/{project}/problems",
    "inbox": "/problems",
    "problem": "/problems/{problem}",
    "session": "/sessions/{bad}",
    "session, layers": "/sessions/{bad}/layers",
    "session, log": "/sessions/{bad}/logs",
    "session, curve": "/sessions/{bad}/series?chart=loss",
    "diagnosis": "/runs/{run}",
    "compare two": "/compare?sessions={good},{bad}",
    "account": "/accounts/me",
    "API projects": "/api/projects",
    "API sessions": "/api/sessions?project={project}",
    "API sessions, last page": "/api/sessions?project={project}&page={pages}",
    "API session": "/api/sessions/{bad}",
    "API epochs": "/api/sessions/{bad}/epochs",
    "API log": "/api/sessions/{bad}/logs",
    "API problems": "/api/problems?project={project}",
    "API activity of a problem": "/api/problems/{problem}/activity",
    "API diagnoses": "/diagnostics/sessions/{bad}",
    "API health": "/diagnostics/sessions/{bad}/health",
    "API trend": "/diagnostics/projects/{project}/trend",
}


@dataclass(frozen=True)
class Store:
    """A filled database. ``facts`` is what `benchmarks.pages_store` printed of it."""

    environment: dict[str, str]
    facts: dict[str, Any]

    def path(self, page: str) -> str:
        return page.format(**self.facts)


class Reader:
    """A browser of few words: one connection, one person logged in."""

    def __init__(self, port: int, facts: Mapping[str, Any]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"Cookie": facts["cookie"]}

    def get(self, path: str) -> bytes:
        try:
            self.connection.request("GET", path, headers=self.headers)
            answer = self.connection.getresponse()
        except http.client.RemoteDisconnected:
            # Uvicorn ends a connection that was idle for 5 s, as while MLflow starts.
            self.connection.close()
            return self.get(path)
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {path}: {body[:300]!r}")
        return body

    def seconds(self, path: str) -> float:
        began = time.perf_counter()
        self.get(path)
        return time.perf_counter() - began


def fill(sizes: list[int], kind: str, url: str, home: Path) -> dict[int, Store]:
    """Fill one database step by step and keep a copy of it at each size but the last."""
    environment = os.environ | {
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "mldiag.settings",
        "MLDIAG_AUTH": "required",
        "MLDIAG_HOME": str(home),
        "REDIS_URL": "",
        "SECRET_KEY": "only-for-a-benchmark-and-long-enough-to-be-accepted-here",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], env=environment, check=True)
    stores = {}
    for size in sizes:
        began = time.perf_counter()
        facts = json.loads(_run("benchmarks.pages_store", str(size), environment=environment))
        print(f"{kind}: {facts['sessions']:,} sessions, {facts['epochs']:,} epochs", end=" ")
        print(f"({time.perf_counter() - began:.0f} s to fill)", flush=True)
        own = url if size == sizes[-1] else _copy_of(url, size, home)
        stores[size] = Store(environment | {"DATABASE_URL": own}, facts)
    return stores


def _copy_of(url: str, size: int, home: Path) -> str:
    if url.startswith("sqlite"):
        shutil.copy(home / "pages.sqlite3", home / f"pages-{size}.sqlite3")
        return f"sqlite:///{home}/pages-{size}.sqlite3"
    base, _, name = url.rpartition("/")
    # A database that is copied must have no connection, not even the one that asks for it.
    with psycopg.connect(f"{base}/template1", autocommit=True) as database:
        database.execute(f"CREATE DATABASE pages_{size} TEMPLATE {name}")
    return f"{base}/pages_{size}"


def _run(module: str, *arguments: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def queries(stores: dict[int, Store]) -> dict[int, list[int]]:
    return {
        size: json.loads(
            _run("benchmarks.pages_queries", PERSON, *map(store.path, PAGES.values()), environment=store.environment)
        )
        for size, store in stores.items()
    }


@contextlib.contextmanager
def serving(stores: dict[int, Store]) -> Iterator[dict[int, Reader]]:
    with contextlib.ExitStack() as stack:
        ports = {size: stack.enter_context(server(store.environment, 1))[0] for size, store in stores.items()}
        yield {size: Reader(port, stores[size].facts) for size, port in ports.items()}


def measure(kind: str, stores: dict[int, Store], requests: int, mlflow: str) -> bool:
    """Print a line a page; returns whether all stay within the goal."""
    counts = queries(stores)
    small, large = min(stores), max(stores)
    print(f"\n{kind}: p50 / p95 in ms over {requests} requests each, in turns")
    print(f"| page | queries | {' | '.join(f'{size:,} sessions' for size in stores)} | growth of p50, p95 |")
    print(f"| --- | ---: | {'---: | ' * len(stores)}---: |")
    misses = []
    with serving(stores) as readers:
        for place, (name, page) in enumerate(PAGES.items()):
            times = in_turns(readers, {size: store.path(page) for size, store in stores.items()}, requests)
            needed = [counts[size][place] for size in stores]
            growth = [percentile(times[large], each) / percentile(times[small], each) for each in (50, 95)]
            if growth[1] > GOAL_GROWTH or len(set(needed)) > 1:
                misses.append(name)
            shown = " | ".join(f"{percentile(each, 50):.1f} / {percentile(each, 95):.1f}" for each in times.values())
            number = needed[0] if len(set(needed)) == 1 else "!".join(map(str, needed))
            print(f"| {name} | {number} | {shown} | {growth[0]:.2f}, {growth[1]:.2f} |", flush=True)
        print(f"p95 grows by more than {GOAL_GROWTH} or queries differ: {', '.join(misses) or 'nowhere'}")
        pages_peer.measure(readers, {size: store.facts for size, store in stores.items()}, requests, mlflow)
    return not misses


def in_turns(readers: Mapping[int, Reader], paths: Mapping[int, str], requests: int) -> dict[int, list[float]]:
    """Return the milliseconds of each request, by size."""
    times: dict[int, list[float]] = {size: [] for size in readers}
    for number in range(-WARM_UP, requests):
        # Whoever comes after an expensive one must not always be the same.
        order = list(readers) if number % 2 else list(reversed(readers))
        for size in order:
            took = 1000 * readers[size].seconds(paths[size])
            if number >= 0:
                times[size].append(took)
    return times


def percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--databases", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    parser.add_argument("--mlflow", default=shutil.which("mlflow") or "", help="the program of an installed MLflow")
    chosen = parser.parse_args()
    results = []
    print(f"MLflow: {chosen.mlflow or 'absent (--mlflow PATH)'}")
    for kind in chosen.databases:
        with contextlib.ExitStack() as stack:
            home = stack.enter_context(temporary_folder("pages-"))
            durable = kind == "postgresql"
            url = stack.enter_context(temporary_postgres(())) if durable else f"sqlite:///{home}/pages.sqlite3"
            results.append(measure(kind, fill(sorted(chosen.sizes), kind, url, home), chosen.requests, chosen.mlflow))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
