"""What a diagnosis costs from the database to the issues: ``python -m benchmarks.stored``.

On a temporary PostgreSQL and on SQLite, runs of several sizes are stored as ingest stores them and judged as a worker
judges them. Every figure is a ratio to ``orjson.loads`` of the run's JSON in the same round of the same process. Beside
it stand floors (one query of Django's; the packed rows; all queries, and the numbers as columns) and the straight way:
the JSON of every epoch out of the same rows, parsed, and twelve checks as loops on dicts (`benchmarks.naive`). The last
lines tell what one more epoch costs early and late in a run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from benchmarks.engine import best, make_epoch
from benchmarks.interleaved import ratios, seconds
from observer_client.packed import pack
from observer_client.record import to_json
from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import temporary_folder

SIZES = ((10, 10), (100, 30), (1000, 50))
GOALS = {"postgresql": {(100, 30): 0.35, (1000, 50): 0.12}, "sqlite": {(100, 30): 0.12, (1000, 50): 0.05}}
_FLOORS = ("a query", "the rows", "the columns")


def measure(rounds: int) -> None:
    """Print the figures of the database that Django is configured for."""
    import django

    django.setup()
    import orjson
    from django.core.management import call_command
    from django.db import connection

    from benchmarks import naive
    from diagnostics.services.judging import judge, load_run
    from projects.services import project_policy
    from sessions.models import TrainSession
    from sessions.services import packed_epochs

    call_command("migrate", verbosity=0)
    print(f"{connection.vendor}: ratio to orjson.loads of the run, median of {rounds} rounds")
    print("| epochs x layers | orjson.loads, ms | stored -> issues | goal | " + " | ".join(_FLOORS) + " | naive |")
    print("| --- |" + " ---: |" * (4 + len(_FLOORS)))
    for size in SIZES:
        number, document = _store(*size)
        session = TrainSession.objects.select_related("project").get(pk=number)
        policy = project_policy(session.project)

        def straight(session: TrainSession = session) -> object:
            payloads = session.steps.order_by("epoch").values_list("payload", flat=True)
            return naive.diagnose([orjson.loads(text) for text in payloads])

        ways: dict[str, Callable[[], object]] = {
            "parse": lambda document=document: orjson.loads(document),
            "ours": lambda session=session, policy=policy: judge(session, policy),
            "a query": lambda number=number: TrainSession.objects.filter(pk=number).values_list("name").first(),
            "the rows": lambda session=session: packed_epochs(session),
            "the columns": lambda session=session: load_run(session),
            "naive": straight,
        }
        times = seconds(ways, rounds)
        found = ratios(times, "parse")
        goal = GOALS[connection.vendor].get(size, "")
        shown = [f"{1000 * median(times['parse']):.3g}", f"{found['ours']:.3g}", str(goal)]
        shown += [f"{found[name]:.3g}" for name in (*_FLOORS, "naive")]
        print(f"| {size[0]}x{size[1]} | {' | '.join(shown)} |")
    _one_more(rounds, median(times["parse"]), orjson.loads)


def _store(epochs: int, layers: int) -> tuple[int, bytes]:
    from projects.models import Project
    from sessions.models import TrainSession, TrainStep

    session = TrainSession.objects.create(project=Project.objects.get(pk=1), name=f"{epochs}x{layers}")
    records = [make_epoch(number, layers) for number in range(epochs)]
    texts = [to_json(record) for record in records]
    TrainStep.objects.bulk_create(
        [
            TrainStep(session=session, epoch=record.epoch, payload=text, packed=pack(record), digest="")
            for record, text in zip(records, texts, strict=True)
        ],
        batch_size=200,
    )
    return session.pk, f"[{','.join(texts)}]".encode()


def _one_more(rounds: int, floor: float, loads: Callable[[bytes], object]) -> None:
    """Print what the diagnosis after one more epoch costs, against parsing that epoch and against the last size."""
    from diagnostics.services.judging import judge
    from projects.services import project_policy
    from sessions.models import TrainSession

    for epochs in (10, 100, 1000):
        number, _ = _store(epochs, SIZES[-1][1])
        session = TrainSession.objects.select_related("project").get(pk=number)
        policy = project_policy(session.project)
        took = best(lambda session=session, policy=policy: judge(session, policy), rounds)
        one = to_json(make_epoch(epochs, SIZES[-1][1])).encode()
        parse = best(lambda one=one: loads(one), rounds)
        print(
            f"live check after epoch {epochs} x {SIZES[-1][1]} layers: {1000 * took:.3g} ms, {took / parse:.3g} x the "
            f"parse of that epoch, {took / floor:.3g} x that of {SIZES[-1][0]} epochs"
        )
    print()


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.stored", description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--here", action="store_true", help="only the database of DATABASE_URL")
    chosen = options.parse_args()
    if chosen.here:
        measure(chosen.rounds)
        return
    command = [sys.executable, "-m", "benchmarks.stored", "--here", "--rounds", str(chosen.rounds)]
    with temporary_postgres(settings=()) as postgres, temporary_folder("bench-") as home:
        surroundings = os.environ | {
            "DJANGO_SETTINGS_MODULE": "mldiag.settings",
            "MLDIAG_HOME": str(home),
            "SECRET_KEY": "only-for-a-benchmark-and-long-enough-to-be-accepted-here",
            "REDIS_URL": "",
        }
        for url in (postgres, f"sqlite:///{home}/bench.sqlite3"):
            subprocess.run(command, env=surroundings | {"DATABASE_URL": url}, check=True)


if __name__ == "__main__":
    main()
