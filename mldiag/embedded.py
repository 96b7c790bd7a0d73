"""A Celery worker and the sweeper as threads of the web process: the server that needs no other process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.worker import WorkController, state
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from diagnostics import services

logger = logging.getLogger(__name__)


class EmbeddedWorker:
    """Runs the tasks of ``app`` in threads of this process.

    `WorkController`, not ``app.Worker``: it leaves signal handlers and logging alone. One per process, since
    Celery keeps the wish to stop in a global.
    """

    def __init__(self, app: Celery, *, threads: int = 2) -> None:
        # A task that is not registered when the worker starts is refused for ever.
        app.loader.import_default_modules()
        app.finalize()
        self._ready = threading.Event()
        ready = self._ready

        class Controller(WorkController):
            def on_consumer_ready(self, consumer: Any) -> None:
                super().on_consumer_ready(consumer)
                ready.set()

        self._controller = Controller(
            app=app,
            pool="threads",
            concurrency=threads,
            hostname="embedded@localhost",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        self._thread = threading.Thread(target=self._run, name="mldiag-worker", daemon=True)

    def start(self, timeout: float = 10.0) -> None:
        """Start and wait until tasks are taken. Raises RuntimeError when that takes longer than ``timeout``."""
        self._thread.start()
        if not self._ready.wait(timeout):
            raise RuntimeError("the embedded worker did not start")

    def stop(self, timeout: float = 10.0) -> bool:
        """Let running tasks finish and stop. Returns False when they take longer than ``timeout`` seconds."""
        state.should_stop = 0
        self._thread.join(timeout)
        stopped = not self._thread.is_alive()
        if stopped:
            state.should_stop = None
        return stopped

    def _run(self) -> None:
        # Celery ends its main loop with SystemExit, which would be printed as a crash of the thread.
        try:
            self._controller.start()
        except SystemExit:
            logger.debug("embedded worker stopped")


class Sweeper:
    """Calls `services.sweep` every ``seconds``, in place of ``celery beat``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mldiag-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        self._stopping.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                services.sweep()
            except (DatabaseError, InterfaceError):
                logger.exception("The sweep failed; the next one is in %s s.", self._seconds)
            finally:
                connections.close_all()


@contextmanager
def worker_inside(app: Celery) -> Iterator[None]:
    """Work off the queue in this process as long as the context lasts.

    Whatever is marked as running belongs to an earlier life of this process and is queued again at once.
    """
    worker, sweeper = EmbeddedWorker(app), Sweeper(settings.MLDIAG_SWEEP_SECONDS)
    worker.start()
    services.resume()
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()
        worker.stop()
