"""The least that any server does for an alert: take it in, store a row, push it to an open page.

    python -m benchmarks.alerts_floor PORT DATABASE

``POST /NAME`` answers when the row is committed and the open pages were told. Under uvicorn, as ours; without a
framework, a queue, a diagnosis and other sessions. DATABASE is the path of an SQLite file or a URL of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import uvicorn

from tests.temporary.process import free_port

PAGE = b"""<!doctype html><title>floor</title><ul id="alerts"></ul><script>
const socket = new WebSocket(`ws://${location.host}/`);
socket.onmessage = (event) => {
    const item = document.createElement("li");
    item.textContent = JSON.parse(event.data).title;
    document.getElementById("alerts").prepend(item);
};
</script>"""


class Floor:
    """An ASGI application."""

    def __init__(self, database: str) -> None:
        if database.startswith("postgresql"):
            self._connection: Any = psycopg.connect(database, autocommit=True)
            self._insert = "INSERT INTO floor (title) VALUES (%s)"
        else:
            self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._insert = "INSERT INTO floor (title) VALUES (?)"
        self._connection.execute("CREATE TABLE IF NOT EXISTS floor (title text)")
        self._pages: set[Any] = set()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._keep(receive, send)
        elif scope["method"] == "POST":
            title = scope["path"].lstrip("/")
            await asyncio.to_thread(self._connection.execute, self._insert, (title,))
            for tell in self._pages:
                await tell({"type": "websocket.send", "text": json.dumps({"title": title})})
            await _answer(send, b"{}")
        else:
            await _answer(send, PAGE)

    async def _keep(self, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        self._pages.add(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self._pages.discard(send)


async def _answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": body})


class FloorClient:
    """Sends one alert after the other over one connection."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, name: str) -> None:
        try:
            self._connection.request("POST", f"/{name}", b"{}")
            self._connection.getresponse().read()
        except ConnectionError:
            self._connection.close()
            raise


@contextlib.contextmanager
def floor(database: str) -> Iterator[FloorClient]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port), database])
    client = FloorClient(port)
    try:
        for _ in range(600):
            with contextlib.suppress(ConnectionError):
                client.send("ready")
                break
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    uvicorn.run(Floor(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", lifespan="off", timeout_keep_alive=60)
