"""A request over ASGI: in one thread, with one connection to the database."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from mldiag import urls
from mldiag.handler import OneThreadHandler

SEEN = []


@csrf_exempt
def noted(request):
    connection.ensure_connection()
    SEEN.append((threading.current_thread().name, id(connection.connection)))
    return HttpResponse(f"{request.method} {request.body.decode()}")


@csrf_exempt
def broken(request):
    raise RuntimeError("no such luck")


class Streamed(StreamingHttpResponse):
    def close(self):
        SEEN.append(connection.connection is not None)
        super().close()


async def parts():
    yield b"a part"
    raise ConnectionResetError("nobody listens any more")


def streamed(request):
    connection.ensure_connection()
    return Streamed(parts())


urlpatterns = [path("noted", noted), path("broken", broken), path("streamed", streamed), *urls.urlpatterns]
handler404, handler500 = urls.handler404, urls.handler500


@pytest.fixture
def asked(settings, transactional_db, monkeypatch):
    """Ask the handler; returns the status, the headers and the body of each answer."""
    settings.ROOT_URLCONF, settings.MLDIAG_AUTH = __name__, "open"
    monkeypatch.setattr("mldiag.handler.MOST_THREADS", 1)
    SEEN.clear()
    handler = OneThreadHandler()

    def ask(address, *, method="POST", times=1, messages=None):
        scope = {"type": "http", "method": method, "path": address, "query_string": b"", "scheme": "http"}
        return asyncio.run(_ask(handler, scope, times, messages or [{"type": "http.request", "body": b"hello"}]))

    yield ask
    handler.close()


async def _ask(handler, scope, times, messages):
    answers = []
    for _ in range(times):
        waiting, sent = list(messages), []

        async def receive(waiting=waiting):
            return waiting.pop(0)

        async def send(message, sent=sent):
            sent.append(message)

        await handler(scope | {"headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1)}, receive, send)
        answers.append(sent)
    return [
        (sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])) if sent else None for sent in answers
    ]


def test_answers_what_was_sent(asked):
    assert asked("/noted") == [(200, b"POST hello")]


def test_a_thread_serves_one_request_after_the_other_and_keeps_its_connection(asked):
    asked("/noted", times=3)
    threads, connections = (set(each) for each in zip(*SEEN, strict=True))
    assert threads == {"request_0"}
    # PostgreSQL's connections are lent by a pool, for a request each.
    assert connection.vendor == "postgresql" or len(connections) == 1


def test_an_error_is_an_answer(asked, caplog):
    assert asked("/broken")[0][0] == 500


def test_a_static_file_is_served(asked):
    ((status, body),) = asked("/static/mldiag/app.css", method="GET")
    assert status == 200
    assert b"color" in body


def test_what_is_no_file_is_not_found(asked):
    assert asked("/static/nothing.css", method="GET")[0][0] == 404


def test_a_client_that_goes_away_gets_nothing(asked):
    assert asked("/noted", messages=[{"type": "http.disconnect"}]) == [None]
    assert not SEEN


def test_a_stream_that_breaks_off_is_closed(asked):
    with pytest.raises(ConnectionResetError):
        asked("/streamed", method="GET")
    # By then the thread has given its connection back, or keeps it as it may.
    (is_connected,) = SEEN
    assert is_connected == (connection.vendor == "sqlite")
