from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core.checks import run_checks

from mldiag.checks import small_database

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]


def found(settings, **values):
    for name, value in {"ALLOWED_HOSTS": LOOPBACK, "REDIS_URL": "", **values}.items():
        setattr(settings, name, value)
    return [message.id for message in run_checks() if str(message.id).startswith("mldiag.")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({}, [], id="as the tests run"),
        pytest.param({"MLDIAG_AUTH": "open"}, [], id="open to this machine"),
        pytest.param({"MLDIAG_AUTH": "open", "ALLOWED_HOSTS": ["*"]}, ["mldiag.E002"], id="open to everybody"),
        pytest.param({"MLDIAG_AUTH": "open", "ALLOWED_HOSTS": ["a.example"]}, ["mldiag.E002"], id="open to a name"),
        pytest.param({"ALLOWED_HOSTS": ["a.example"]}, [], id="a name with a login"),
        pytest.param({"MLDIAG_AUTH": "none"}, ["mldiag.E001"], id="an unknown mode"),
        pytest.param({"DEBUG": True}, [], id="debug on this machine"),
        pytest.param({"DEBUG": True, "ALLOWED_HOSTS": ["a.example"]}, ["mldiag.E003"], id="debug for others"),
        pytest.param({"SECRET_KEY": "change_me"}, ["mldiag.E004"], id="a short secret"),
        pytest.param({"SECRET_KEY": "x" * 60}, ["mldiag.E004"], id="a silly secret"),
    ],
)
def test_what_is_found(settings, values, expected):
    assert found(settings, **values) == expected


@pytest.mark.parametrize(("engine", "expected"), [("sqlite3", ["mldiag.W001"]), ("postgresql", [])])
def test_redis_with_sqlite_is_only_warned_of(settings, monkeypatch, engine, expected):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"django.db.backends.{engine}")
    assert [message.id for message in small_database(None)] == expected


def run_check(tmp_path, *arguments, **environment):
    variables = {"MLDIAG_HOME": str(tmp_path), "PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "manage.py", "check", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


@pytest.mark.processes
def test_a_deployed_server_is_clean(tmp_path):
    settings = {"SECRET_KEY": "q8Zr3-Vn5_Lx7Kp1Wd9Tg2Hs4Jm6Bf0Yc_Re8Ua5Io3Pn7-Qd1Ve6", "MLDIAG_TLS": "true"}
    run = run_check(tmp_path, "--deploy", "--fail-level", "WARNING", ALLOWED_HOSTS="ml.example", **settings)
    assert run.returncode == 0, run.stderr


@pytest.mark.processes
def test_an_open_server_for_everybody_does_not_start(tmp_path):
    run = run_check(tmp_path, MLDIAG_AUTH="open", ALLOWED_HOSTS="*")
    assert run.returncode == 1
    assert "mldiag.E002" in run.stderr


@pytest.mark.processes
def test_a_secret_is_made_where_none_is_given(tmp_path):
    assert run_check(tmp_path).returncode == 0
    secret = tmp_path / "secret_key"
    assert (secret.stat().st_mode & 0o777, len(secret.read_text()) > 40) == (0o600, True)
