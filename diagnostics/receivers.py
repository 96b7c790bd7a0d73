"""News from below that ask for a diagnosis."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from diagnostics import services
from sessions.models import TrainSession
from sessions.signals import epochs_stored, logs_stored, session_finished, session_returned


@receiver([epochs_stored, logs_stored, session_finished, session_returned])
def diagnose_what_is_new(session: TrainSession, **kwargs: Any) -> None:
    services.mark_due(session)
