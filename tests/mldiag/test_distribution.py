"""What a wheel holds: setuptools leaves out, without a word, whatever package the list does not name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = ["mldiag", "projects", "sessions", "diagnostics"]


def packages(folder):
    """The packages in a folder of the repository, as their dotted names."""
    return {".".join(found.parent.relative_to(ROOT).parts) for found in (ROOT / folder).rglob("__init__.py")}


@pytest.mark.parametrize(
    ("project", "folders"), [(".", HERE), ("observer_client", ["observer_client"])], ids=["server", "client"]
)
def test_every_package_is_in_the_wheel(project, folders):
    settings = tomllib.loads((ROOT / project / "pyproject.toml").read_text())
    named = set(settings["tool"]["setuptools"]["packages"])
    assert {name for folder in folders for name in packages(folder)} <= named
