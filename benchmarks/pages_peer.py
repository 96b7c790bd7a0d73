"""What other trackers get asked, too: the latest runs with their final metrics, and the curves of one run and of five.

MLflow holds as many runs as the smallest and the largest store, of the same shape, written straight into its SQLite
tables, and is asked by its own REST API. It is no dependency: ``--mlflow PATH`` names the program of an
installation, say in an environment of its own; without one it is printed as absent.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages_store import LONG_EPOCHS, LONG_RUNS, METRICS
from tests.temporary.process import free_port, temporary_folder

LATEST = 50
GOALS = {
    "C1: latest 50 with final metrics": "p50 <= 3 ms, growth <= 1.2",
    "C2: one run, 20,000 values": "p50 <= 10 ms, 50x less than MLflow",
    "C3: five runs, 100,000 values": "p50 <= 60 ms",
}
PATIENCE = 180.0


class Mlflow:
    """A served MLflow, asked over one connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def latest(self) -> None:
        body = json.dumps({"experiment_ids": ["0"], "max_results": LATEST, "order_by": ["start_time DESC"]})
        runs = self._ask("POST", "runs/search", body)["runs"]
        _expect(sum(len(run["data"]["metrics"]) for run in runs), LATEST * METRICS)

    def curves(self, runs: int) -> None:
        found = 0
        for run in range(runs):
            for metric in range(METRICS):
                path = f"metrics/get-history?run_id=long{run}&metric_key=metric_{metric}"
                found += len(self._ask("GET", path)["metrics"])
        _expect(found, runs * LONG_EPOCHS * METRICS)

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        self.connection.request(method, f"/api/2.0/mlflow/{path}", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {path}: {text[:300]!r}")
        return json.loads(text)


def measure(readers: Mapping[int, Any], facts: Mapping[int, Mapping[str, Any]], requests: int, mlflow: str) -> None:
    """Print a line a question: ours at each size, MLflow beside it at the largest."""
    sizes = sorted(readers)
    asked = {size: _ours(readers[size], facts[size]) for size in sizes}
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(serving(mlflow, sizes[-1])) if mlflow else None
        theirs = [] if peer is None else [peer.latest, lambda: peer.curves(1), lambda: peer.curves(LONG_RUNS)]
        print(
            f"\n| question, p50 in ms | {' | '.join(f'{size:,} sessions' for size in sizes)} | growth | MLflow | goal |"
        )
        print(f"| --- | {'---: | ' * (len(sizes) + 2)}--- |")
        for place, (name, goal) in enumerate(GOALS.items()):
            times = {size: [] for size in sizes}
            for _ in range(requests):
                for size in sizes:
                    times[size].append(_milliseconds(asked[size][place]))
            ours = [statistics.median(each) for each in times.values()]
            few = range(max(3, requests // 5))
            other = statistics.median(_milliseconds(theirs[place]) for _ in few) if theirs else None
            beside = "absent" if other is None else f"{other:.0f} ({other / ours[-1]:.0f}x)"
            shown = " | ".join(f"{each:.1f}" for each in ours)
            print(f"| {name} | {shown} | {ours[-1] / ours[0]:.2f} | {beside} | {goal} |", flush=True)


def _ours(reader: Any, facts: Mapping[str, Any]) -> list[Callable[[], None]]:
    def latest() -> None:
        found = json.loads(reader.get(f"/api/sessions?project={facts['project']}&page_size={LATEST}"))["results"]
        # The loss has columns of its own.
        _expect(sum(len(each["metrics"]) + 1 for each in found), LATEST * METRICS)

    def curves(runs: int) -> None:
        found = [json.loads(reader.get(f"/api/sessions/{pk}/metrics")) for pk in facts["long"][:runs]]
        names = [name for each in found for name in each if name.startswith("loss.val.")]
        _expect(len(names) * LONG_EPOCHS, runs * LONG_EPOCHS * METRICS)

    return [latest, lambda: curves(1), lambda: curves(LONG_RUNS)]


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} values instead of {wanted}")


def _milliseconds(ask: Callable[[], None]) -> float:
    began = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - began)


@contextlib.contextmanager
def serving(program: str, runs: int) -> Iterator[Mlflow]:
    port = free_port()
    with temporary_folder("mlflow-") as home:
        store = home / "mlflow.sqlite3"
        command = [
            program,
            "server",
            "--backend-store-uri",
            f"sqlite:///{store}",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        command += ["--default-artifact-root", str(home)]
        log = (home / "log").open("wb")
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, env=_quiet(), start_new_session=True)
        try:
            _await(port)
            _fill(store, runs)
            yield Mlflow(port)
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _quiet() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
    }


def _await(port: int) -> None:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError("MLflow did not answer")


def _fill(store: Path, runs: int) -> None:
    """Write the runs with their final metrics, and the long ones with all of theirs."""
    database = sqlite3.connect(store, timeout=60)
    names = [f"metric_{each}" for each in range(METRICS)]
    # The long ones are the oldest, so that they are not among the latest.
    every = [(f"long{number}", number) for number in range(LONG_RUNS)] + [(f"run{n}", 1_000 + n) for n in range(runs)]
    with database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, lifecycle_stage, artifact_uri,"
            " experiment_id) VALUES (?, ?, 'LOCAL', 'alice', 'FINISHED', ?, 'active', '', 0)",
            [(run, run, started) for run, started in every],
        )
        values = "(key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, 1, ?, ?, 0)"
        final = [(name, 0.5, run, 99) for run, _ in every for name in names]
        database.executemany(f"INSERT INTO latest_metrics {values}", final)
        curves = (
            (name, 1.0 / (step + 1.5), f"long{run}", step)
            for run in range(LONG_RUNS)
            for name in names
            for step in range(LONG_EPOCHS)
        )
        database.executemany(f"INSERT INTO metrics {values}", curves)
    database.close()
