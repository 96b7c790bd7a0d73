"""A server process that lives exactly as long as the test run that started it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# The shell outlives a test run that is killed outright: its standard input ends, and it cleans up.
KEEPER = """
folder=$1 signal=$2; shift 2
"$@" >"$folder/server.log" 2>&1 &
cat >/dev/null
kill -s "$signal" $! 2>/dev/null
wait $!
rm -rf "$folder"
"""
PATIENCE_SECONDS = 60.0


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    # Short, because a socket's path holds 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    command: Sequence[str | Path],
    folder: Path,
    *,
    ready: Callable[[], bool],
    stop_signal: str,
    environment: Mapping[str, str] | None = None,
    account: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Run ``command`` until the block ends or this process does. ``folder`` is removed with it."""
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", KEEPER, "keeper", str(folder), stop_signal, *map(str, command)],
        stdin=subprocess.PIPE,
        cwd=folder,
        env=environment,
        # Ctrl-C is for the tests; the server has to be there while they clean up.
        start_new_session=True,
        **(account or {}),
    )
    assert keeper.stdin
    try:
        _wait(ready, folder / "server.log")
        yield
    finally:
        keeper.stdin.close()
        keeper.wait(PATIENCE_SECONDS)


def _wait(ready: Callable[[], bool], log: Path) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > limit:
            said = log.read_text(errors="replace") if log.exists() else ""
            raise RuntimeError(f"the server did not answer within {PATIENCE_SECONDS:.0f} s:\n{said}")
        time.sleep(0.02)
