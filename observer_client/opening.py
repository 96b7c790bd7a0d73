"""How a run introduces itself."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from observer_client.config import ObserverConfig
from observer_client.environment import environment
from observer_client.record import Opening


def opening(
    key: str,
    config: ObserverConfig,
    *,
    project_id: int | None,
    project: str | None,
    run_name: str | None,
    tags: list[str],
) -> Opening:
    """Return the opening of a run. What the arguments leave out, the config says."""
    if project_id is None and project is None and config.project:
        if config.project.isdigit():
            project_id = int(config.project)
        else:
            project = config.project
    now = datetime.now(UTC)
    return Opening(
        key=key,
        project_id=project_id,
        project=project,
        run_name=run_name or f"{_script()}-{now:%Y%m%d-%H%M%S}",
        started_at=now.isoformat(),
        environment=environment(),
        config=dict(config.public()),
        tags=tags,
    )


def _script() -> str:
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "run"
