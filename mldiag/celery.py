"""The Celery application: ``celery -A mldiag worker``, ``celery -A mldiag beat``."""

from __future__ import annotations

import os

from celery import Celery

import mldiag.transport  # noqa: F401 - makes kombu know memwake://

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")

app = Celery("mldiag")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
