"""An account on a server that runs as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.processes.machinery import REPOSITORY, environment

PERSON, PASSWORD = "alice", "correct horse battery"


def make_person(home: Path) -> None:
    """Make an account that may see everything, the admin included."""
    command = [sys.executable, "manage.py", "createsuperuser", "--noinput"]
    account = {"USERNAME": PERSON, "EMAIL": "alice@example.org", "PASSWORD": PASSWORD}
    variables = {f"DJANGO_SUPERUSER_{name}": value for name, value in account.items()}
    subprocess.run(command, cwd=REPOSITORY, env=environment(home, **variables), check=True, capture_output=True)
