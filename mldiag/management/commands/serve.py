from __future__ import annotations

import logging
import os
import signal
import socket
from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection

from mldiag import binding
from mldiag.celery import app
from mldiag.embedded import worker_inside

CHATTY = ("celery", "kombu", "uvicorn", "asyncio")
SECONDS_FOR_OPEN_REQUESTS = 1
SECONDS_BETWEEN_REQUESTS = 60
"""A run that goes on keeps its connection from one heartbeat to the next."""


class Command(BaseCommand):
    help = (
        "Run mldiag in one process: prepare the database, diagnose in a thread, serve pages and API."
        " With REDIS_URL, diagnoses are left to `celery -A mldiag worker` and `celery -A mldiag beat`."
    )
    # They run with `migrate` and would be printed twice.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (default: %(default)s)")
        parser.add_argument(
            "--no-worker", action="store_false", dest="worker", help="leave diagnoses to other processes"
        )

    def handle(self, *, host: str, port: int, worker: bool, **options: Any) -> None:
        # uvicorn hands on the signal it stopped for; as an exception it lets the worker be stopped, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._serve(host, port, worker and not settings.REDIS_URL)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except binding.BindingError as error:
            raise CommandError(str(error)) from error

    def _serve(self, host: str, port: int, worker: bool) -> None:
        if not binding.access_is_chosen():
            settings.MLDIAG_AUTH = binding.default_access(host)
        binding.check_access(host, settings.MLDIAG_AUTH)
        with binding.listen(host, port) as bound:
            settings.HOME.mkdir(parents=True, exist_ok=True)
            call_command("migrate", verbosity=0)
            # Stays open: when the last connection to an SQLite file closes, the whole of its log is copied and synced.
            connection.ensure_connection()
            _be_quiet()
            if not worker:
                self.stdout.write("Diagnoses wait for other processes: celery -A mldiag worker, celery -A mldiag beat")
            with worker_inside(app) if worker else nullcontext():
                self._answer(host, bound)

    def _answer(self, host: str, bound: socket.socket) -> None:
        config = uvicorn.Config(
            "mldiag.asgi:application",
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=SECONDS_BETWEEN_REQUESTS,
            timeout_graceful_shutdown=SECONDS_FOR_OPEN_REQUESTS,
        )
        config.load()
        access = "open to this machine" if settings.MLDIAG_AUTH == "open" else "login required"
        self.stdout.write(f"mldiag is at {binding.url(host, bound)} ({access}; Ctrl-C stops it)")
        self.stdout.flush()
        uvicorn.Server(config).run(sockets=[bound])


def _be_quiet() -> None:
    if "LOG_LEVEL" in os.environ:
        return
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
