from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from diagnostics.engine import CHECKS, ENGINE_VERSION


def version() -> str:
    """Return one line with the versions of package, engine and Python."""
    try:
        own = installed("mldiag")
    except PackageNotFoundError:
        own = "(source tree)"
    return f"mldiag {own} · engine {ENGINE_VERSION} · {len(CHECKS)} checks · Python {platform.python_version()}"
