"""How fast epochs are taken in, beside the least that any server has to do.

Clients in a closed loop with keep-alive post one epoch a request, 20 metrics and 30 layers x 8 statistics (260
values), over HTTP to the real application under uvicorn: authentication, decoding, both stored forms, the
session's figures, the order for a diagnosis. The floor inserts the same JSON as one row into the same durable
PostgreSQL, by psycopg, with as many clients. Both run in turns; the ratio is what counts.

    python -m benchmarks.ingest [--seconds 5] [--rounds 3] [--clients 8] [--workers 2]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

import psutil
import psycopg

from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import free_port, temporary_folder
from tests.temporary.redis import temporary_redis

METRICS, LAYERS = 20, 30
STATISTICS = (
    "gradient_norm_mean",
    "gradient_norm_max",
    "weight_norm",
    "weight_sparsity",
    "update_ratio",
    "activation_mean",
    "activation_variance",
    "activation_zero_share",
)
VALUES = METRICS + LAYERS * len(STATISTICS)
GOAL_RATIO, GOAL_CPU_MICROSECONDS = 0.25, 12.0

PREPARE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from projects.models import Project
from projects.services import issue_key
print(issue_key(Project.objects.get(pk=1), "ing")[1])
"""


@dataclass
class Round:
    """What one round of all clients did. ``times`` in seconds."""

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def values_per_second(self) -> float:
        return len(self.times) * VALUES / self.seconds

    def milliseconds(self, percent: int) -> float:
        return 1000 * statistics.quantiles(self.times, n=100)[percent - 1]


def epoch_json(number: int) -> str:
    metrics = {f"metric_{index}": 0.123456789 * (index + 1) / (number + 1) for index in range(METRICS)}
    layer = {name: 0.0123456789 * (index + 1) / (number + 1) for index, name in enumerate(STATISTICS)}
    layers = {f"blocks.{index}.conv": layer for index in range(LAYERS)}
    return json.dumps({"epoch": number, "loss": {"val": metrics}, "layer_health": {"layers": layers}})


def run_clients(clients: int, seconds: float, make: Callable[[], Callable[[int], None]]) -> Round:
    """Call what each ``make`` returns, over and over, in as many threads as there are clients."""
    result = Round()

    def loop(send: Callable[[int], None]) -> None:
        end = time.perf_counter() + seconds
        for number in count():
            began = time.perf_counter()
            if began >= end:
                return
            send(number)
            result.times.append(time.perf_counter() - began)

    senders = [make() for _ in range(clients)]
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(loop, senders))
    result.seconds = time.perf_counter() - began
    return result


def floor_client(url: str) -> Callable[[int], None]:
    connection = psycopg.connect(url, autocommit=True)
    run = uuid4().hex

    def insert(number: int) -> None:
        connection.execute(
            "INSERT INTO floor (run, epoch, payload) VALUES (%s, %s, %s)", (run, number, epoch_json(number))
        )

    return insert


def http_client(port: int, key: str) -> Callable[[int], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    address = f"/api/sessions/{uuid4()}"

    def request(method: str, path: str, body: str) -> None:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201) or b'"rejected"' in text:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")

    request("PUT", address, "{}")
    return lambda number: request("POST", f"{address}/epochs", f'{{"epochs":[{epoch_json(number)}]}}')


@contextlib.contextmanager
def server(
    environment: dict[str, str], workers: int, application: str = "mldiag.asgi:application"
) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port)]
    options = ["--workers", str(workers), "--log-level", "warning", "--lifespan", "off", "--no-access-log"]
    process = subprocess.Popen([*command, *options], env=environment)
    try:
        _await(port)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _await(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/accounts/login")
            connection.getresponse().read()
            return
        time.sleep(0.1)
    raise RuntimeError("uvicorn did not answer")


def cpu_seconds(process: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def memory_mb(process: psutil.Process) -> float:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 2**20


def measure(arguments: argparse.Namespace, url: str, environment: dict[str, str]) -> bool:
    prepared = subprocess.run(
        [sys.executable, "-c", PREPARE], env=environment, capture_output=True, text=True, check=True
    )
    key = prepared.stdout.strip().splitlines()[-1]
    database = psycopg.connect(url, autocommit=True)
    database.execute("CREATE TABLE floor (run text, epoch int, payload jsonb, PRIMARY KEY (run, epoch))")
    floors, ours = [], []
    with server(environment, arguments.workers) as (port, process):
        run_clients(arguments.clients, 1.0, lambda: http_client(port, key))
        warm = database.execute("SELECT count(*) FROM training_trainstep").fetchone()[0]
        before = cpu_seconds(process)
        for _ in range(arguments.rounds):
            floors.append(run_clients(arguments.clients, arguments.seconds, lambda: floor_client(url)))
            ours.append(run_clients(arguments.clients, arguments.seconds, lambda: http_client(port, key)))
        cpu, memory = cpu_seconds(process) - before, memory_mb(process)
    stored = database.execute("SELECT count(*) FROM training_trainstep").fetchone()[0] - warm
    sent = sum(len(each.times) for each in ours)
    report("one JSON row, psycopg", floors)
    report(f"mldiag, {arguments.workers} processes", ours)
    ratios = [our.values_per_second / floor.values_per_second for our, floor in zip(ours, floors, strict=True)]
    ratio, cpu_each = statistics.median(ratios), 1e6 * cpu / (sent * VALUES)
    print(f"ratio {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}; goal at least {GOAL_RATIO})")
    print(f"server CPU {cpu_each:.1f} us a value (goal at most {GOAL_CPU_MICROSECONDS}), {memory:.0f} MB")
    print(f"{sent:,} epochs acknowledged, {stored:,} stored, {sent - stored:,} lost")
    return stored == sent


def report(name: str, rounds: list[Round]) -> None:
    middle = sorted(rounds, key=lambda each: each.values_per_second)[len(rounds) // 2]
    print(
        f"{name:24} {middle.values_per_second:>10,.0f} values/s   "
        f"p50 {middle.milliseconds(50):6.1f} ms   p99 {middle.milliseconds(99):6.1f} ms"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with temporary_postgres(settings=()) as url, temporary_redis() as redis, temporary_folder("bench-") as home:
        environment = os.environ | {
            "DATABASE_URL": url,
            "REDIS_URL": redis,
            "MLDIAG_HOME": str(home),
            "MLDIAG_AUTH": "required",
            # Only one key asks here, all it can.
            "MLDIAG_KEY_REQUESTS_PER_MINUTE": "0",
            "DJANGO_SETTINGS_MODULE": "mldiag.settings",
        }
        return 0 if measure(arguments, url, environment) else 1


if __name__ == "__main__":
    sys.exit(main())
