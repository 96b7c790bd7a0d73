"""Where a run runs: versions, machine, devices, and the commit of its code."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

GIT_SECONDS = 1.0


def environment() -> dict[str, Any]:
    """Return what is known at once, without starting a process or a device."""
    torch = sys.modules.get("torch")
    known = {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "hostname": platform.node(),
        "pid": os.getpid(),
        "cpus": os.cpu_count(),
        "script": sys.argv[0] if sys.argv else None,
        "torch": str(torch.__version__) if torch is not None and hasattr(torch, "__version__") else None,
    }
    return {name: value for name, value in known.items() if value not in (None, "")}


def devices() -> dict[str, Any]:
    """Return the accelerators, once the training uses them: asking must not start them. Empty before."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if torch is None or cuda is None or not cuda.is_initialized():
        return {}
    names = [cuda.get_device_name(index) for index in range(cuda.device_count())]
    return {"devices": names, "cuda": torch.version.cuda}


def code() -> dict[str, Any]:
    """Return commit, branch and whether tracked files were changed; empty outside a repository. Takes up to seconds."""
    script = Path(sys.argv[0] if sys.argv else "").resolve()
    folder = script.parent if script.is_file() else Path.cwd()
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    found = {
        "git_commit": commit,
        "git_branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "git_dirty": None if changes is None else bool(changes),
    }
    return {name: value for name, value in found.items() if value is not None}


def _git(folder: Path, *arguments: str) -> str | None:
    import subprocess  # Only on the background thread: the training need not wait for the import.

    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            # Looking must not take the lock of the user's index.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()
