"""What is normal in a project: learned from its own healthy sessions, kept by version, used by its diagnoses."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import lru_cache

import numpy as np
from django.conf import settings
from django.db.models import QuerySet

from diagnostics import queue
from diagnostics.anomaly_training import CannotLearn, can_learn, learn
from diagnostics.engine import Run
from diagnostics.engine.anomaly import AnomalyModel
from diagnostics.engine.anomaly_features import features
from diagnostics.engine.curves import Floats
from diagnostics.models import LearnedNormal
from projects.models import Project
from sessions.models import SessionStatus, TrainSession
from sessions.services import packed_epochs

logger = logging.getLogger(__name__)

MOST_SESSIONS = 200
"""Sessions a model learns from, the newest: what was normal a year ago may not be."""
GROWTH = 1.25
"""A model is made anew when there are so many times the healthy sessions that there were for the last one."""
KEPT = 5
"""Versions of a project's model that are kept, so that a diagnosis can be traced to the one that judged."""


def normal_of(project: Project) -> AnomalyModel | None:
    """Return the newest model of a project that this engine can use; None means what is normal in general."""
    newest = LearnedNormal.objects.filter(project=project).order_by("-version").values_list("pk", "created").first()
    return None if newest is None else _stored(*newest)


@lru_cache(maxsize=64)
def _stored(pk: int, created: datetime) -> AnomalyModel | None:
    """Return a model by its row; ``created`` tells it from one of a database that was set up anew."""
    document = LearnedNormal.objects.filter(pk=pk).values_list("document", flat=True).first()
    try:
        return AnomalyModel.from_dict(document)
    except ValueError as error:
        # Made by another version of the engine, or edited by hand: no reason to leave a run without a diagnosis.
        logger.warning("Anomaly model %s cannot be used, the generic one judges: %s", pk, error)
        return None


def healthy_sessions(project: Project) -> QuerySet[TrainSession]:
    """Return the sessions that show what is normal: ended as planned, with a score that says so."""
    return project.sessions.filter(
        status=SessionStatus.FINISHED, health_score__gte=settings.MLDIAG_ANOMALY_MIN_SCORE, epoch_count__gt=0
    )


def is_due(project: Project) -> bool:
    """Return whether enough healthy sessions have come in since the project's last model. Two queries."""
    known = LearnedNormal.objects.filter(project=project).order_by("-version").values_list("healthy", flat=True).first()
    least = settings.MLDIAG_ANOMALY_MIN_SESSIONS if known is None else known * GROWTH
    return can_learn() and healthy_sessions(project).count() >= least


def ask_to_learn(session: TrainSession) -> None:
    """Have a worker learn what is normal, if the verdict on ``session`` was the one that was missing for it."""
    if session.status == SessionStatus.FINISHED and is_due(session.project):
        # Whatever gets lost here is asked for again by the next healthy session.
        queue.tell(queue.LEARN_TASK, session.project_id)


def learn_normal(project: Project) -> LearnedNormal:
    """Learn from the project's healthy sessions and store the result as its next version.

    Raises CannotLearn when there are too few of them or scikit-learn is not installed.
    """
    sessions = healthy_sessions(project)
    healthy = sessions.count()
    tables = [_figures(session) for session in sessions.order_by("-started", "-pk").only("pk")[:MOST_SESSIONS]]
    before = LearnedNormal.objects.filter(project=project).order_by("-version").values_list("version", flat=True)
    version = (before.first() or 0) + 1
    # Every session is a kind of its own: the model is calibrated on sessions it did not know.
    model = learn(tables, [str(at) for at in range(len(tables))], name="project", version=version)
    made, _ = LearnedNormal.objects.get_or_create(
        project=project,
        version=version,
        defaults={
            "sessions": model.sessions,
            "epochs": model.epochs,
            "healthy": healthy,
            "document": model.as_dict(),
        },
    )
    LearnedNormal.objects.filter(project=project, version__lte=version - KEPT).delete()
    logger.info("Project %s: anomaly model %s of %s sessions", project.pk, version, model.sessions)
    return made


def learn_if_due(project_id: int) -> LearnedNormal | None:
    """Do what `ask_to_learn` asked for, unless somebody has done it meanwhile or the project is gone.

    Enough sessions may have too few epochs: no failure, the next healthy session asks again.
    """
    project = Project.objects.filter(pk=project_id).first()
    if project is None or not is_due(project):
        return None
    try:
        return learn_normal(project)
    except CannotLearn as reason:
        logger.info("Project %s: nothing learned, %s", project_id, reason)
        return None


def _figures(session: TrainSession) -> Floats:
    table = features(Run.from_packed(packed_epochs(session)))
    return table[np.isfinite(table).any(axis=1)]
