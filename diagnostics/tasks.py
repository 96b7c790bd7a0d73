from __future__ import annotations

from celery import shared_task

from diagnostics import services


@shared_task
def ring(run_id: int) -> None:
    services.work(run_id)


@shared_task(soft_time_limit=300, time_limit=330)
def learn(project_id: int) -> None:
    services.learn_if_due(project_id)


@shared_task
def sweep() -> None:
    services.sweep()
