"""Real processes of ours, and what a client says to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
SESSION_KEY = "0b8a2f3c-5f0e-4c55-9d57-2f5a8f0f9f10"
OURS = ("MLDIAG_", "DATABASE_", "REDIS_", "SECRET_KEY", "DJANGO_", "PYTEST_", "LOG_LEVEL", "DEBUG")


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The caller's environment without its settings of ours, with those of the test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    hasty = {"MLDIAG_LEASE_SECONDS": "2", "MLDIAG_SWEEP_SECONDS": "0.5", "PYTHONUNBUFFERED": "1"}
    return {**kept, "MLDIAG_HOME": str(home), **hasty, **variables}


class Program:
    """A process whose output goes to a file."""

    def __init__(self, command: list[str], variables: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it and its children at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def wait_until_said(self, words: str, after: int = 0) -> str:
        """Return the line of the output that holds ``words``, looked for from byte ``after``."""

        def line() -> str | None:
            assert self.process.poll() is None, self.said()
            return next((each for each in self.said()[after:].splitlines() if words in each), None)

        return until(line, f"{words!r} in {self.said()}")


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str], log: Path) -> Iterator[Program]:
    program = Program(command, variables, log)
    try:
        yield program
    finally:
        program.kill()


@contextlib.contextmanager
def serving(home: Path, *arguments: str, **variables: str) -> Iterator[tuple[Program, str]]:
    """``manage.py serve`` on a free port; yields it and its URL."""
    log = home / "serve.log"
    before = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "manage.py", "serve", "--port", "0", *arguments]
    with running(command, environment(home, **variables), log) as program:
        line = program.wait_until_said("mldiag is at ", after=before)
        yield program, line.split()[3]


def until(look: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Return the first true thing that ``look`` finds."""
    limit = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < limit, f"waited {patience:.0f} s for {what}"
        time.sleep(0.05)
    return found


class Client:
    """A training script that knows HTTP and sends again what was not acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def open_session(self, key: str = SESSION_KEY) -> int:
        answer = self.http.put(
            f"{self.url}/api/sessions/{key}", json={"key": key, "run_name": "digits"}, timeout=PATIENCE
        )
        answer.raise_for_status()
        return answer.json()["id"]

    def send_epochs(self, numbers: range, key: str = SESSION_KEY) -> list[dict[str, Any]]:
        body = {"epochs": [epoch(number) for number in numbers]}
        answer = self.http.post(f"{self.url}/api/sessions/{key}/epochs", json=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()["results"]

    def finish(self, key: str = SESSION_KEY) -> dict[str, Any]:
        answer = self.http.post(f"{self.url}/api/sessions/{key}/finish", json={"status": "finished"}, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str) -> dict[str, Any]:
        answer = self.http.get(f"{self.url}{path}", timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()


def epoch(number: int) -> dict[str, Any]:
    """An epoch of a run whose loss falls, until it is NaN in the sixth."""
    loss = 2.0 / (number + 1) if number < 5 else "nan"
    return {"epoch": number, "duration_seconds": 1.0, "loss": {"train_mean": loss, "val": {"val_loss": loss}}}
