"""How fast pages and lists answer, with few sessions and with many: ``python -m benchmarks.pages``.

For each size a database is filled (`benchmarks.pages_store`: 100 epochs a session, a million rows of them for 10,000)
and served over HTTP by the real application to a person who is logged in. Each page is asked for from all sizes in
turns, so that what else the machine does falls on all of them; the ratio is what counts. The smallest and the largest
are asked twice in each turn: by what one differs from itself, the machine alone makes times differ. Before them stand
the questions that other trackers get asked, too (`benchmarks.pages_questions`).

    python -m benchmarks.pages --mlflow PATH --docs docs/speed.md
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import pages_questions
from benchmarks.pages_served import Reader, Store, in_turns, percentile, ratio, serving
from benchmarks.pages_store import PERSON
from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import temporary_folder

GOAL_GROWTH = 1.2
GOAL = (
    f"p95 grows by {GOAL_GROWTH} at most from the smallest to the largest, queries by none. Noise is by what the p95 "
    "of one size differs from itself, asked twice in each turn: a growth of p95 that is no more than that, times the "
    "goal, is unclear"
)
NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
RULE = "\n---\n\n"
PAGES = {
    "home": "/",
    "project": "/projects/{project}",
    "project, last page": "/projects/{project}?page={pages}",
    "project by duration": "/projects/{project}?sort=-duration",
    "project by health": "/projects/{project}?sort=score",
    "project by validation loss": "/projects/{project}?sort=val",
    "project by a metric": "/projects/{project}?columns=name,metric.metric_3&sort=metric.metric_3",
    "project by a hyperparameter": "/projects/{project}?columns=name,hp.learning_rate&sort=hp.learning_rate",
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


def measure(stores: dict[int, Store], requests: int) -> Iterator[str]:
    """Yield the lines of a table: a page each, and whether it stays within the goal."""
    counts = queries(stores)
    small, large = min(stores), max(stores)
    yield f"| page | queries | {' | '.join(f'{size:,} sessions' for size in stores)} | growth of p50, p95 | noise | |"
    yield f"| --- | ---: | {'---: | ' * len(stores)}---: | ---: | --- |"
    with serving(stores) as ports:
        readers = {size: Reader(port, {"Cookie": stores[size].facts["cookie"]}) for size, port in ports.items()}
        for place, (name, page) in enumerate(PAGES.items()):
            asked = {(size, 1): partial(readers[size].get, store.path(page)) for size, store in stores.items()}
            asked |= {(size, 2): asked[size, 1] for size in (small, large)}
            taken = in_turns(asked, requests)
            times = {size: taken[size, 1] + taken.get((size, 2), []) for size in stores}
            needed = [counts[size][place] for size in stores]
            growth = ratio(times[large], times[small]), percentile(times[large], 95) / percentile(times[small], 95)
            noise = max(differs(taken[size, 1], taken[size, 2]) for size in (small, large))
            shown = " | ".join(f"{percentile(each, 50):.1f} / {percentile(each, 95):.1f}" for each in times.values())
            number = needed[0] if len(set(needed)) == 1 else "!".join(map(str, needed))
            said = verdict(growth, noise, needed)
            yield f"| {name} | {number} | {shown} | {growth[0]:.2f}, {growth[1]:.2f} | {noise:.2f} | {said} |"


def differs(times: list[float], again: list[float]) -> float:
    """Return by what factor the p95 of one thing, asked twice, differs, at least 1."""
    first, second = sorted((percentile(times, 95), percentile(again, 95)))
    return second / first


def verdict(growth: tuple[float, float], noise: float, queries: list[int]) -> str:
    """Return what is said of the growth of p50 and p95, where one store differs by ``noise`` from itself."""
    p50, p95 = growth
    missed = ["growth"] if p50 > GOAL_GROWTH or p95 > GOAL_GROWTH * noise else []
    if len(set(queries)) > 1:
        missed.append("queries")
    if missed:
        return f"missed: {', '.join(missed)}"
    return "met" if p95 <= GOAL_GROWTH else "unclear"


def report(kind: str, sizes: list[int], chosen: argparse.Namespace) -> Iterator[str]:
    """Fill and serve one kind of database; yields the lines of its part of the documentation."""
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(temporary_folder("pages-"))
        durable = kind == "postgresql"
        url = stack.enter_context(temporary_postgres(())) if durable else f"sqlite:///{home}/pages.sqlite3"
        stores = fill(sizes, kind, url, home)
        yield f"## {NAMES[kind]}"
        if "questions" in chosen.parts:
            yield from ("", *pages_questions.measure(stores, chosen.requests, chosen.mlflow))
        if "pages" in chosen.parts:
            yield from ("", f"p50 / p95 in ms over {chosen.requests} requests each, in turns; goal: {GOAL}.", "")
            yield from measure(stores, chosen.requests)
        yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--databases", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    parser.add_argument("--mlflow", default=shutil.which("mlflow") or "", help="the program of an installed MLflow")
    parser.add_argument("--parts", nargs="+", default=["questions", "pages"], choices=["questions", "pages"])
    parser.add_argument("--docs", type=Path, help="a Markdown file: what follows its first rule is written anew")
    chosen = parser.parse_args()
    lines = []
    beside = "" if chosen.mlflow else "MLflow is absent (`--mlflow PATH`). "
    for line in (f"{beside}Load of the machine at the start: {os.getloadavg()[0]:.1f}.", ""):
        lines.append(line)
        print(line)
    for kind in chosen.databases:
        for line in report(kind, sorted(chosen.sizes), chosen):
            lines.append(line)
            print(line, flush=True)
    if chosen.docs:
        introduction = chosen.docs.read_text().partition(RULE)[0]
        chosen.docs.write_text(introduction + RULE + "\n".join(lines).rstrip() + "\n")
    return 1 if any("| missed: " in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
