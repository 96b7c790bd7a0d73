from __future__ import annotations

from django.apps import AppConfig


class DiagnosticsConfig(AppConfig):
    name = "diagnostics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Here, because an import at the top would need the models before they are loaded: listening starts, and
        # the web process knows the task that it rings for.
        import diagnostics.receivers
        import diagnostics.tasks  # noqa: F401
