"""The ingest contract in memory, on a real socket, with faults on demand."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIAGNOSIS = {"health_score": 73, "critical": 1, "warning": 2, "info": 0}


@dataclass
class Session:
    """What a server knows of one run. ``stored`` counts how often each epoch and log line was stored."""

    opening: dict
    updates: list = field(default_factory=list)
    model: dict | None = None
    epochs: dict = field(default_factory=dict)
    logs: dict = field(default_factory=dict)
    beats: list = field(default_factory=list)
    ending: dict | None = None
    received: Counter = field(default_factory=Counter)


@dataclass
class Fault:
    """``status`` is answered ``times`` times to requests whose path ends in ``where``; None breaks the connection."""

    status: int | None
    where: str = ""
    times: int = 1_000_000
    body: bytes = b'{"detail": "told to fail"}'
    headers: dict = field(default_factory=dict)
    after_storing: bool = False


class IngestServer:
    def __init__(self, port=0):
        self.port = port
        self.sessions = {}
        self.requests = []
        self.key = None
        self.slow = 0.0
        self.rejected_epochs = set()
        self.fault = None
        self._http = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def session(self):
        """The only run there is."""
        (session,) = self.sessions.values()
        return session

    def start(self):
        self._http = _Http(("127.0.0.1", self.port), type("Handler", (_Handler,), {"server_state": self}))
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        if self._http:
            self._http.shutdown()
            self._http.server_close()
            self._http.hang_up()
            self._http = None

    def paths(self):
        return [f"{method} {path.rsplit('/', 1)[-1]}" for method, path, _, _ in self.requests]

    def answer(self, method, path, data):
        *_, key, action = path.split("/") if path.count("/") > 3 else (*path.split("/"), "")
        if method == "PUT" and not action:
            session = self.sessions.setdefault(key, Session(data))
            session.opening = data
            return 201, {"id": 12, "key": key, "url": f"{self.url}/sessions/12"}
        session = self.sessions.get(key)
        if session is None:
            return 404, {"detail": f"There is no session {key}."}
        return 200, getattr(self, f"_{action or 'update'}")(session, data)

    def _update(self, session, data):
        session.updates.append(data)
        return {"id": 12}

    def _model(self, session, data):
        session.model = data
        return {}

    def _epochs(self, session, data):
        return {"results": [self._store_epoch(session, epoch) for epoch in data["epochs"]]}

    def _store_epoch(self, session, epoch):
        name = epoch["epoch"], epoch.get("attempt", 0)
        session.received[name] += 1
        if epoch["epoch"] in self.rejected_epochs:
            return {"epoch": name[0], "attempt": name[1], "status": "rejected", "error": "told to refuse it"}
        status = "duplicate" if name in session.epochs else "stored"
        session.epochs.setdefault(name, epoch)
        return {"epoch": name[0], "attempt": name[1], "status": status}

    def _logs(self, session, data):
        for line in data["logs"]:
            session.logs.setdefault(line["seq"], line)
        return {"results": [{"seq": line["seq"], "status": "stored"} for line in data["logs"]]}

    def _heartbeat(self, session, data):
        session.beats.append(data)
        return {"status": "running"}

    def _finish(self, session, data):
        session.ending = data
        return {"id": 12, "status": data["status"], "url": f"{self.url}/sessions/12", "diagnosis": DIAGNOSIS}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments):
        self.open = []
        super().__init__(*arguments)

    def get_request(self):
        request, address = super().get_request()
        self.open.append(request)
        return request, address

    def hang_up(self):
        for each in self.open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in two packets would wait for each other.
    wbufsize = -1

    def _serve(self):
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        state.requests.append((self.command, self.path, dict(self.headers), body))
        time.sleep(state.slow)
        fault = self._fault()
        if fault and not fault.after_storing:
            return self._fail(fault)
        if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
            return self._send(401, {"detail": "This key is not known."})
        status, answer = state.answer(self.command, self.path, json.loads(body))
        return self._fail(fault) if fault else self._send(status, answer)

    do_PUT = do_POST = do_PATCH = _serve

    def _fault(self):
        fault = self.server_state.fault
        if fault is None or not self.path.endswith(fault.where) or fault.times <= 0:
            return None
        fault.times -= 1
        return fault

    def _fail(self, fault):
        if fault.status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(fault.status, fault.body, fault.headers)

    def _send(self, status, answer, headers=()):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
