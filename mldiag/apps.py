from __future__ import annotations

from django.apps import AppConfig


class MldiagConfig(AppConfig):
    name = "mldiag"

    def ready(self) -> None:
        # Binds shared tasks to our Celery app. Not in __init__, so that `mldiag check` never loads Celery.
        import mldiag.celery
        import mldiag.checks  # noqa: F401
