"""The files that start a server for a team: no container is started here, but what they name exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from celery.app.utils import find_app
from uvicorn.importer import import_from_string

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def procfile():
    return dict(line.split(": ", 1) for line in (REPOSITORY / "Procfile").read_text().splitlines())


def test_both_start_the_same_processes(compose, procfile):
    ours = {name for name, service in compose.items() if "build" in service}
    assert {"release" if name == "migrate" else name for name in ours} == set(procfile)


def test_every_process_of_ours_knows_database_and_broker(compose):
    for service in compose.values():
        if "build" in service:
            assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"} <= service["environment"].keys()
            assert service["environment"]["MLDIAG_AUTH"] == "required"


def test_named_applications_exist(procfile):
    assert "uvicorn mldiag.asgi:application" in procfile["web"]
    assert import_from_string("mldiag.asgi:application")
    assert "celery -A mldiag worker" in procfile["worker"]
    assert find_app("mldiag").main == "mldiag"


def test_package_itself_loads_nothing():
    assert (REPOSITORY / "mldiag" / "__init__.py").read_text() == ""


def test_example_of_settings_holds_no_secret():
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    assert "SECRET_KEY=" in lines
    assert "POSTGRES_PASSWORD=" in lines
