"""A pytest plugin: a real PostgreSQL and a real Redis-protocol server for this test run.

Loaded by ``-p`` because the servers must run before pytest-django reads the settings; a conftest is too late.
``DATABASE_URL`` and ``REDIS_URL`` are respected, ``MLDIAG_TEST_DB=sqlite`` asks for SQLite. Workers of
pytest-xdist inherit the variables and start nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import os

from tests.temporary.postgres import temporary_postgres
from tests.temporary.process import temporary_folder
from tests.temporary.redis import temporary_redis

_open = contextlib.ExitStack()
atexit.register(_open.close)

if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["MLDIAG_HOME"] = str(_open.enter_context(temporary_folder("mldiag-")))
os.environ.setdefault("SECRET_KEY", "only-for-tests-and-long-enough-to-be-accepted-as-a-key-4f9c1e07b2a35d68")
# Tests say in which mode they run: the safe one unless they ask for the other.
os.environ.setdefault("MLDIAG_AUTH", "required")

if "DATABASE_URL" not in os.environ:
    if os.environ.get("MLDIAG_TEST_DB") == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{os.environ['MLDIAG_HOME']}/mldiag.sqlite3"
    else:
        os.environ["DATABASE_URL"] = _open.enter_context(temporary_postgres())
if "REDIS_URL" not in os.environ:
    os.environ["REDIS_URL"] = _open.enter_context(temporary_redis())
