"""Making a baseline of a session: its own best result is what is usual from now on."""

from __future__ import annotations

import re
from typing import Any

from diagnostics.engine import Baseline
from diagnostics.services.judging import load_run
from projects.models import ApiKey
from projects.models import Baseline as StoredBaseline
from projects.services import Refused, declare_baseline
from projects.services.documents import clean
from projects.services.policy import checked_figures
from sessions.models import TrainSession

SOURCE = re.compile(r"session (\d{1,18}): ", re.ASCII)


def pin_baseline(
    session: TrainSession, name: str, *, metric: str = "accuracy", user: Any = None, key: ApiKey | None = None
) -> StoredBaseline:
    """Store what a session has reached as its project's baseline ``name``, in the place of what was.

    It is a copy: the best value of ``metric``, the epochs until then and the parameters. A session that goes on, or
    is deleted, does not change it. Raises Refused if the metric was not logged.
    """
    figures = _reached(session, checked_figures(name, {"metric": metric, "value": 1.0}))
    # As `SOURCE` reads it.
    source = clean(f"session {session.pk}: {session.name}", 300)
    return declare_baseline(session.project, name, {**figures, "source": source}, user=user, key=key)[0]


def pinned_session(project_id: int, name: str) -> TrainSession | None:
    """Return the session of which the baseline ``name`` is a copy; None if it is of none, or that one is gone."""
    source = StoredBaseline.objects.filter(project=project_id, name=name).values_list("source", flat=True).first()
    said = SOURCE.match(source or "")
    return TrainSession.objects.filter(project=project_id, pk=int(said[1])).first() if said else None


def _reached(session: TrainSession, asked: Baseline) -> dict[str, Any]:
    run = load_run(session)
    columns = (run.column(column) for column in asked.columns)
    column = next((each for each in columns if each.finite.size), None)
    if column is None:
        raise Refused(f"The session has not logged {asked.metric}: there is nothing to pin.", "$.metric")
    rows = column.finite
    values = column.values[rows]
    best = int(rows[values.argmax() if asked.is_higher_better else values.argmin()])
    epochs = int(run.epochs[best]) + int(run.epochs[0] == 0)
    parameters = run.architecture.total_parameters if run.architecture else 0
    return {
        "metric": asked.metric,
        "value": float(column.values[best]),
        "epochs": max(1, epochs),
        "parameters": parameters if parameters > 0 else None,
    }
