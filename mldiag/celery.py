"""The Celery application: ``celery -A mldiag worker``, ``celery -A mldiag beat``."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from django.db import connections

import mldiag.transport  # noqa: F401 - makes kombu know memwake://

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")

app = Celery("mldiag")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@task_prerun.connect
def distrust_kept_connections(**kwargs: Any) -> None:
    """Have a connection that was kept since the last task asked whether it still lives before it is used."""
    for connection in connections.all(initialized_only=True):
        connection.health_check_done = False
