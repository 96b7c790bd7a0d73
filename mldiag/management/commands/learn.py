from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from diagnostics import services
from diagnostics.anomaly_training import CannotLearn
from projects.models import Project


class Command(BaseCommand):
    help = (
        "Learn what is normal in a project from its healthy sessions, here and now. Workers do it by themselves "
        "whenever enough new ones have come in; diagnoses use the newest version."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--project", metavar="NAME", help="one project, by its name or number")
        which.add_argument("--all", action="store_true", help="every project that has sessions enough")

    def handle(self, *, project: str | None, **options: Any) -> None:
        if project is None:
            for each in Project.objects.order_by("pk"):
                self._learn(each)
            return
        chosen = Project.objects.filter(name=project).first()
        if chosen is None and project.isdecimal():
            chosen = Project.objects.filter(pk=int(project)).first()
        if chosen is None:
            raise CommandError(f"There is no project {project}.")
        if not self._learn(chosen):
            raise CommandError("Nothing was learned.")

    def _learn(self, project: Project) -> bool:
        try:
            made = services.learn_normal(project)
        except CannotLearn as error:
            self.stderr.write(f"{project.name}: {error}")
            return False
        self.stdout.write(
            f"{project.name}: version {made.version}, learned from {made.sessions} sessions with {made.epochs} epochs"
        )
        return True
