"""News from below that ask for a diagnosis."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from diagnostics import services
from projects.models import Project
from sessions.models import TrainSession
from sessions.signals import (
    epochs_stored,
    logs_stored,
    session_finished,
    session_opened,
    session_returned,
    sessions_deleted,
)


@receiver([epochs_stored, logs_stored, session_finished, session_returned])
def diagnose_what_is_new(session: TrainSession, **kwargs: Any) -> None:
    services.mark_due(session)


@receiver(session_opened)
def tell_of_a_new_session(session: TrainSession, **kwargs: Any) -> None:
    services.ring_for(session)


@receiver(session_finished)
def tell_of_an_ending(session: TrainSession, **kwargs: Any) -> None:
    services.note_ending(session)


@receiver(sessions_deleted)
def forget_what_they_showed(project: Project, **kwargs: Any) -> None:
    services.refresh_project(project)
