"""A whole run as one document (`RunFile`), put together from its records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from observer_client.guard import harmless
from observer_client.record import FORMAT
from observer_client.runfolder import Entry

if TYPE_CHECKING:
    from observer_client.recording import Recording

_MERGED = ("hyperparameters", "environment", "config")


def run_document(records: Iterable[Entry]) -> dict[str, Any]:
    """Return the run that ``records`` tell, shaped as `RunFile`; fields this version does not know are kept."""
    run: dict[str, Any] = {"format": FORMAT, "session": {}, "epochs": [], "logs": []}
    for entry in records:
        match entry.kind:
            case "opening" | "update":
                _merge(run["session"], entry.data)
                if entry.kind == "opening":
                    # A resumed run goes on after its end.
                    run.pop("ending", None)
            case "architecture":
                run["architecture"] = entry.data
            case "epoch":
                run["epochs"].append(entry.data)
            case "log":
                run["logs"].append(entry.data)
            case "ending":
                run["ending"] = entry.data
    return run


def _merge(session: dict[str, Any], news: dict[str, Any]) -> None:
    for name, value in news.items():
        if name in _MERGED and isinstance(value, dict):
            session[name] = {**session.get(name, {}), **value}
        else:
            session[name] = value


def write_run(records: Iterable[Entry], path: Path) -> None:
    """Write the run to ``path``, all or nothing; missing folders are made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        draft.write_text(json.dumps(run_document(records), allow_nan=False, indent=1))
        draft.replace(path)
    finally:
        # A full disk leaves half of it.
        draft.unlink(missing_ok=True)


class Recorded(Protocol):
    """What `export` needs of an `Observer`."""

    _recording: Recording | None


@harmless
def export(self: Recorded, path: str | os.PathLike[str]) -> Path | None:
    """Write all that was recorded so far to ``path`` as one JSON document, for ``mldiag check`` or an archive.

    Missing folders are made. Returns the path, None when that failed or nothing is recorded here: in mode disabled,
    and on all ranks but 0.
    """
    if self._recording is None:
        return None
    target = Path(path)
    write_run(self._recording.spool.everything(), target)
    return target
