"""The server for a team: PostgreSQL, a broker, web and worker as processes of their own, any of which may die."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from uuid import uuid4

import psycopg
import pytest
from websockets.sync.client import connect

from tests.processes.machinery import PATIENCE, REPOSITORY, Client, Program, environment, running, until
from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import free_port
from tests.temporary.redis import find_server

pytestmark = pytest.mark.processes
EPOCHS = 8


class Team:
    """What runs of a team's server, and how to start more of it."""

    def __init__(self, home, database):
        self.home, self.database, self.port = home, database, free_port()
        self.key = str(uuid4())
        self.variables = environment(
            home,
            DATABASE_URL=database,
            REDIS_URL=f"redis://127.0.0.1:{self.port}/0",
            SECRET_KEY="of-these-processes-alone-and-long-enough-to-be-taken-for-one-83c1f5",
            MLDIAG_AUTH="open",
        )

    def program(self, name, *command):
        return running(list(command), self.variables, self.home / f"{name}.log")

    def broker(self):
        return self.program("broker", find_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "")

    @contextlib.contextmanager
    def web(self):
        command = [sys.executable, "-m", "uvicorn", "mldiag.asgi:application", "--port", "0"]
        with self.program("web", *command) as web:
            yield Client(web.wait_until_said("Uvicorn running on ").split("running on ")[1].split()[0])

    def worker(self):
        command = [sys.executable, "-m", "celery", "-A", "mldiag", "worker", "--concurrency", "1"]
        # As the Procfile has it.
        return running(command, self.variables | {"DATABASE_POOL": "false"}, self.home / "worker.log")

    def beat(self):
        return self.program("beat", sys.executable, "-m", "celery", "-A", "mldiag", "beat")

    def runs(self, session):
        with psycopg.connect(self.database) as connection:
            query = "SELECT state, attempts, epoch_count FROM diagnostics_diagnosticrun WHERE session_id = %s"
            return connection.execute(query, [session]).fetchall()

    def found(self, session):
        query = """SELECT check_id FROM diagnostics_foundissue issue
            JOIN diagnostics_diagnosticrun run ON run.id = issue.run_id WHERE session_id = %s"""
        with psycopg.connect(self.database) as connection:
            return [check for (check,) in connection.execute(query, [session])]


@pytest.fixture(scope="module")
def database():
    with temporary_postgres() as url:
        yield url


@pytest.fixture
def team(tmp_path, database):
    made = Team(tmp_path, database)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=REPOSITORY, env=made.variables, check=True)
    return made


def train(client, key):
    session = client.open_session(key)
    client.send_epochs(range(EPOCHS), key)
    client.finish(key)
    return session


def test_worker_diagnoses_what_the_web_process_stored(team):
    with team.broker(), team.web() as client, team.worker():
        session = train(client, team.key)
        until(lambda: team.runs(session) == [("done", 1, EPOCHS)], "the diagnosis")
        answer = client.http.post(f"{client.url}/diagnostics/sessions/{session}/run", timeout=30)
        assert answer.status_code == 200
        assert "nan-in-loss" in [issue["check_id"] for issue in answer.json()["issues"]]


def test_killed_worker_costs_an_attempt_and_nothing_else(team):
    """kill -9 in the middle of a diagnosis, held there by a lock on the session that it wants to write to."""
    with team.broker(), team.web() as client:
        session = train(client, team.key)
        with psycopg.connect(team.database) as lock:
            lock.execute("SELECT 1 FROM training_trainsession WHERE id = %s FOR UPDATE", [session])
            with team.worker() as worker:
                until(lambda: team.runs(session) == [("running", 1, 0)], f"the claim: {worker.said()}")
                worker.kill()
        with team.worker(), team.beat():
            until(lambda: team.runs(session) == [("done", 2, EPOCHS)], "the second attempt")
            found = team.found(session)
            assert found.count("nan-in-loss") == 1


def test_connection_that_died_between_two_diagnoses_costs_nothing(team):
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with team.broker(), team.web() as client, team.worker():
        session = client.open_session(team.key)
        client.send_epochs(range(2), team.key)
        until(lambda: team.runs(session) == [("done", 1, 2)], "the first diagnosis")
        with psycopg.connect(team.database, autocommit=True) as database:
            database.execute(f"{others} AND datname IS NOT NULL")
        client.send_epochs(range(2, EPOCHS), team.key)
        until(lambda: team.runs(session) == [("done", 1, EPOCHS)], "the second one, at the first attempt")


@contextlib.contextmanager
def frozen(broker: Program):
    broker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_dead_broker_delays_the_diagnosis_and_nothing_else(team):
    with team.web() as client:
        began = time.monotonic()
        session = train(client, team.key)
        assert time.monotonic() - began < 15, "ingest waited for the broker"
        with team.broker(), team.worker(), team.beat():
            until(lambda: team.runs(session) == [("done", 1, EPOCHS)], "the sweeper")


def test_frozen_broker_does_not_hold_up_ingest(team):
    with team.broker() as broker, team.web() as client:
        client.open_session(team.key)
        with frozen(broker):
            began = time.monotonic()
            for number in range(5):
                client.send_epochs(range(number, number + 1), team.key)
            assert time.monotonic() - began < 15, "ingest waited for the broker"


def test_what_a_worker_finds_is_told_to_an_open_page(team):
    with team.broker(), team.web() as client, team.worker():
        session = client.open_session(team.key)
        address = client.url.replace("http", "ws")
        with connect(f"{address}/ws/sessions/{session}", proxy=None) as page:
            assert json.loads(page.recv(timeout=PATIENCE))["state"]["epoch_count"] == 0
            client.send_epochs(range(EPOCHS), team.key)
            told = [json.loads(page.recv(timeout=PATIENCE))]
            while not any(alert["check_id"] == "nan-in-loss" for alert in told[-1]["alerts"]):
                told.append(json.loads(page.recv(timeout=PATIENCE)))
            assert told[-1]["state"]["epoch_count"] == EPOCHS
