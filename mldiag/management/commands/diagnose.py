from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from diagnostics import services
from diagnostics.models import State
from sessions.models import TrainSession


class Command(BaseCommand):
    help = "Diagnose sessions again, here and now: after an upgrade of the engine, or with new thresholds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--session", type=int, metavar="ID", help="one session")
        which.add_argument("--all", action="store_true", help="every session")

    def handle(self, *, session: int | None, **options: Any) -> None:
        sessions = TrainSession.objects.order_by("pk")
        if session is not None:
            sessions = sessions.filter(pk=session)
            if not sessions.exists():
                raise CommandError(f"There is no session {session}.")
        # No cursor stays open: whoever waits for a diagnosis lets go of the connection.
        numbers = list(sessions.values_list("pk", flat=True))
        failed = [number for number in numbers if not self._diagnose(number)]
        if failed:
            raise CommandError(f"{len(failed)} failed: {', '.join(map(str, failed))}.")

    def _diagnose(self, number: int) -> bool:
        session = TrainSession.objects.select_related("project").get(pk=number)
        run = services.diagnose_now(session)
        done = run.state == State.DONE
        said = f"{run.health_score}/100, {run.issue_count} issues" if done else f"{run.state}: {run.error}"
        self.stdout.write(f"{session.pk} {session.name}: {said}")
        return done
