"""How a run introduces itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from observer_client.config import ObserverConfig
from observer_client.environment import environment
from observer_client.past import Past
from observer_client.record import Opening
from observer_client.terminal import is_notebook


def opening(
    past: Past,
    config: ObserverConfig,
    *,
    project_id: int | str | None,
    project: str | None,
    run_name: str | None,
    tags: Sequence[str],
) -> Opening:
    """Return the opening of a run, or of its next attempt. What the arguments leave out, the config says."""
    told = config.project if project_id is None and project is None else project_id
    if isinstance(told, str):
        # A number written as text, or a name where a number was asked for.
        number, project = (int(told), project) if told.isdigit() else (None, told)
    else:
        number = told
    now = datetime.now(UTC)
    return Opening(
        key=past.key,
        attempt=past.attempt,
        project_id=number,
        project=project,
        run_name=str(run_name or past.name or "") or f"{_script()}-{now:%Y%m%d-%H%M%S}",
        started_at=now.isoformat(),
        environment=environment(),
        config=dict(config.public()),
        tags=[tags] if isinstance(tags, str) else list(tags),
    )


def _script() -> str:
    if is_notebook():
        return "notebook"
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "run"
