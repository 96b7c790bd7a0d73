"""``mldiag demo``: a real server, two real trainings, two diagnoses.

Everything goes the way of a user's own run: the trainings report through `observer_client`, the server judges, and
what is printed was asked of its API.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.text import Text

from mldiag.cli.demo_server import Server, ServerFailed
from mldiag.cli.demo_trainings import TrainingFailed, preload, train_all
from mldiag.cli.sheet import Sheet, brief
from mldiag.cli.terminal import console, show
from mldiag.cli.wording import duration, plural

PROJECT = "Demo"
FAILED = 1
NEEDS = {"torch": "torch", "scikit-learn": "sklearn"}


def run_demo(chosen: Namespace) -> int:
    """Show the demo and return the exit code."""
    if missing := [name for name, module in NEEDS.items() if find_spec(module) is None]:
        print(f"mldiag demo needs {' and '.join(missing)}: pip install {' '.join(missing)}", file=sys.stderr)
        return FAILED
    # A demo that is told to end takes its server with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _home(chosen.home) as home:
        try:
            _tell("Starting the server ...", "dim")
            with Server(home, chosen.port) as server:
                _tell(f"Server: {server.url} (log: {server.log})", "dim")
                train_all(preload(), _settings(server.url, home), home)
                _report(server)
                if not chosen.exit:
                    _tell(f"The dashboard is at {server.url}; Ctrl-C ends the demo.", "bold")
                    server.wait()
        except (ServerFailed, TrainingFailed) as error:
            print(f"mldiag demo: {error}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            _tell("Stopped.", "dim")
    return 0


def _settings(url: str, home: Path) -> dict[str, str]:
    """Return how any script finds its server."""
    runs = str(home / "runs")
    return {"MLDIAG_URL": url, "MLDIAG_PROJECT": PROJECT, "MLDIAG_DIR": runs, "MLDIAG_MODE": "online"}


def _report(server: Server) -> None:
    sessions = server.get(f"/api/sessions?project={_project(server)}")["results"]
    # The list begins with the newest.
    for session in reversed(sessions[:2]):
        body = server.diagnose(session["id"])
        show(console(), brief(_sheet(session, body)))
        _tell(f"  {session['url']}\n", "underline")


def _project(server: Server) -> int:
    projects = server.get("/api/projects")["results"]
    return next(int(project["id"]) for project in projects if project["name"] == PROJECT)


def _sheet(session: dict[str, Any], body: dict[str, Any]) -> Sheet:
    seconds = body["sustainability"]["total_training_duration_seconds"]
    took = [duration(seconds)] if isinstance(seconds, (int, float)) else []
    about = [body["arch_type"], plural(session["epoch_count"], "epoch"), *took, session["status"]]
    return Sheet(heading=session["name"], about=about, body=body)


def _tell(line: str, style: str) -> None:
    show(console(), Text(line, style=style))


@contextmanager
def _home(named: str | None) -> Iterator[Path]:
    if named:
        home = Path(named).resolve()
        home.mkdir(parents=True, exist_ok=True)
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="mldiag-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
