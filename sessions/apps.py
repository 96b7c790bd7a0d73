from __future__ import annotations

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    name = "sessions"
    # The default label would collide with django.contrib.sessions.
    label = "training"
    verbose_name = "Training sessions"
    default_auto_field = "django.db.models.BigAutoField"
