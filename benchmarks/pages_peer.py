"""MLflow, asked what `benchmarks.pages_questions` asks of mldiag.

It holds as many runs as the largest store, of the same shape, written straight into its SQLite tables, and is asked by
its own REST API. It is no dependency: ``--mlflow PATH`` names the program of an installation, say in an environment of
its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.pages_served import Reader
from benchmarks.pages_store import LONG_EPOCHS, LONG_RUNS, METRICS
from tests.temporary.process import free_port, temporary_folder

API = "/api/2.0/mlflow"
LATEST = 50
PATIENCE = 180.0


class Mlflow:
    """A served MLflow, asked over one connection."""

    def __init__(self, port: int) -> None:
        self.reader = Reader(port, {"Content-Type": "application/json"})

    def questions(self) -> list[Callable[[], list[bytes]]]:
        """Return how to ask for the latest runs, for one long run and for all of them; each was tried once."""
        asked = [self._latest, partial(self._curves, 1), partial(self._curves, LONG_RUNS)]
        (latest,) = asked[0]()
        expect(sum(len(run["data"]["metrics"]) for run in json.loads(latest)["runs"]), LATEST * METRICS)
        curves = asked[1]()
        expect(sum(len(json.loads(each)["metrics"]) for each in curves), LONG_EPOCHS * METRICS)
        return asked

    def _latest(self) -> list[bytes]:
        body = json.dumps({"experiment_ids": ["0"], "max_results": LATEST, "order_by": ["start_time DESC"]})
        return [self.reader.ask("POST", f"{API}/runs/search", body)]

    def _curves(self, runs: int) -> list[bytes]:
        return [
            self.reader.get(f"{API}/metrics/get-history?run_id=long{run}&metric_key=metric_{metric}")
            for run in range(runs)
            for metric in range(METRICS)
        ]


def expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} values instead of {wanted}")


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
