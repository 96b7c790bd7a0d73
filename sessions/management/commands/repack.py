from __future__ import annotations

from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sessions.models import TrainStep
from sessions.services import repack

BATCH = 200


class Command(BaseCommand):
    help = "Make the packed numbers and the scalar columns of epochs anew from their payloads."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--session", type=int, help="only the session of this number")

    def handle(self, *args: Any, session: int | None, **options: Any) -> None:
        steps = TrainStep.objects.order_by("pk")
        if session is not None:
            steps = steps.filter(session=session)
        done = 0
        rows = steps.iterator(chunk_size=BATCH)
        while batch := list(islice(rows, BATCH)):
            done += repack(batch)
        self.stdout.write(f"{done} epochs repacked.")
