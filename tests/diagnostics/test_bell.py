"""The doorbell: it rings in every thread, and a broker that is down costs nobody much."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from celery import current_app
from kombu import Connection

from diagnostics import queue
from tests.temporary.process import free_port
from tests.temporary.redis import temporary_redis


@pytest.fixture
def broker(monkeypatch):
    """Use another broker: ``broker(url)``."""

    def use(url):
        monkeypatch.setitem(current_app.conf.changes, "broker_url", url)
        queue._producers.cache_clear()

    yield use
    queue._producers.cache_clear()


def waiting_messages(url):
    with Connection(url) as connection:
        return connection.SimpleQueue("celery").qsize()


def test_ring_reaches_the_broker(broker):
    with temporary_redis() as url:
        broker(url)
        assert queue.ring(1)
        assert waiting_messages(url) == 1


def test_ring_from_another_thread_uses_the_same_app(broker):
    with temporary_redis() as url:
        broker(url)
        ringer = threading.Thread(target=queue.ring, args=(1,))
        ringer.start()
        ringer.join()
        assert waiting_messages(url) == 1


def test_memory_broker_takes_a_ring(broker):
    broker(f"memwake://{uuid4()}")
    assert queue.ring(1)


def test_dead_broker_is_asked_once(broker, caplog):
    broker(f"redis://127.0.0.1:{free_port()}/0")
    assert not queue.ring(1)
    assert queue.breaker.is_open()
    assert not queue.ring(2)
    assert len(caplog.records) == 1


def test_broker_is_asked_again_after_the_pause(broker):
    broker(f"redis://127.0.0.1:{free_port()}/0")
    queue.ring(1)
    queue.breaker.reset()
    with temporary_redis() as url:
        broker(url)
        assert queue.ring(1)
