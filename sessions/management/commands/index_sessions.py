from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from sessions.models import TrainSession
from sessions.services.entries import READ, renew_entries

BATCH = 200


class Command(BaseCommand):
    help = "Write anew what lists of sessions are narrowed to and sorted by: tags, hyperparameters, metrics."

    def handle(self, *args: Any, **options: Any) -> None:
        numbers = list(TrainSession.objects.order_by("pk").values_list("pk", flat=True))
        for first in range(0, len(numbers), BATCH):
            with transaction.atomic():
                held = TrainSession.objects.select_for_update(of=("self",)).filter(
                    pk__in=numbers[first : first + BATCH]
                )
                renew_entries(held.only(*READ).order_by("pk"))
        self.stdout.write(f"{len(numbers)} sessions indexed.")
