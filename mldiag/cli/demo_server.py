"""The demo's server: ``mldiag serve`` in a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

USUAL_PORT = 8000
LONGEST_START = 60.0
LONGEST_DIAGNOSIS = 60.0
LONGEST_STOP = 15.0
_ADDRESS = re.compile(r"mldiag is at (http://\S+)")
# The server is on this machine, whatever proxies the environment names.
_open = build_opener(ProxyHandler({})).open


class ServerFailed(Exception):
    """The server did not start, or did not answer as it should."""


class Server:
    """A running server; leaving the context stops it.

    ``port`` None means the usual one, or any free one when that is taken. Entering raises ServerFailed.
    """

    def __init__(self, home: Path, port: int | None) -> None:
        self.url = ""
        self.log = home / "server.log"
        self._home = home
        self._port = port if port is not None else (USUAL_PORT if _is_free(USUAL_PORT) else 0)

    def __enter__(self) -> Self:
        words = ["-m", "mldiag.cli", "serve", "--home", str(self._home), "--port", str(self._port)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )
        try:
            self.url = self._address()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Wait until the server ends. Raises ServerFailed when it was not told to."""
        if self._process.wait():
            raise ServerFailed(f"the server ended:\n{self._last_words()}")

    def get(self, path: str) -> Any:
        """Return what the server answers to a GET. Raises ServerFailed."""
        return self._ask(Request(self.url + path))

    def diagnose(self, session_id: int) -> dict[str, Any]:
        """Have a session diagnosed and return the whole result (guide 8). Raises ServerFailed."""
        request = Request(
            f"{self.url}/diagnostics/sessions/{session_id}/run", method="POST", headers={"Prefer": "wait=20"}
        )
        answer = self._ask(request)
        deadline = time.monotonic() + LONGEST_DIAGNOSIS
        while answer.get("health_score") is None:
            if answer.get("status") == "failed" or time.monotonic() > deadline:
                raise ServerFailed(f"no diagnosis of session {session_id}: {answer}")
            time.sleep(0.2)
            answer = self.get(f"/diagnostics/runs/{answer['id']}")
        return dict(answer)

    def _ask(self, request: Request) -> Any:
        try:
            with _open(request, timeout=LONGEST_DIAGNOSIS) as answer:
                return json.load(answer)
        except HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise ServerFailed(f"{request.full_url} answered {error.code}: {said}") from error
        except (URLError, OSError, ValueError) as error:
            raise ServerFailed(f"{request.full_url} did not answer: {error}") from error

    def _address(self) -> str:
        deadline = time.monotonic() + LONGEST_START
        while time.monotonic() < deadline:
            if found := _ADDRESS.search(self.log.read_text(errors="replace")):
                return found[1]
            if self._process.poll() is not None:
                raise ServerFailed(f"the server did not start:\n{self._last_words()}")
            time.sleep(0.1)
        raise ServerFailed(f"the server did not start within {LONGEST_START:.0f} s:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _environment() -> dict[str, str]:
    # The demo's server is its own: a database or broker configured for another one is left alone.
    foreign = {"DATABASE_URL", "REDIS_URL", "MLDIAG_AUTH"}
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            # Connections of a server that just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
