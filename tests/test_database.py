from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from django.db import connection

from tests.temporary.postgres import temporary_postgres

START_AND_STAY = """
import sys
from tests.temporary.redis import temporary_redis
with temporary_redis() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_the_tests_run_on_the_database_that_was_asked_for():
    wanted = "sqlite" if os.environ["DATABASE_URL"].startswith("sqlite") else "postgresql"
    assert connection.vendor == wanted


@pytest.mark.processes
def test_a_temporary_server_leaves_nothing_behind():
    with temporary_postgres() as url:
        assert url.startswith("postgresql://")
    assert not _listens(url)


@pytest.mark.processes
def test_a_temporary_server_ends_with_a_test_run_that_is_killed():
    run = subprocess.Popen([sys.executable, "-c", START_AND_STAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    url = run.stdout.readline().decode().strip()
    assert _listens(url)
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 30
    while _listens(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _listens(url)


def _listens(url):
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0
