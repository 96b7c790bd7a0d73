from __future__ import annotations

import json

import pytest
from celery import current_app
from msgspec import convert

from diagnostics import queue
from observer_client.record import Architecture
from sessions.models import TrainSession
from sessions.services import register_model, store_epochs


@pytest.fixture(autouse=True)
def _closed_breaker():
    """What one test learned about the broker is not the next one's business."""
    queue.breaker.reset()
    yield
    queue.breaker.reset()


@pytest.fixture
def empty_session(project):
    return TrainSession.objects.create(project=project, name="nothing yet")


@pytest.fixture
def work_at_once(monkeypatch):
    """Every ring is answered on the spot, in the thread that rings: a worker that is never busy."""
    # Celery reads its settings at the first look; until then there is nothing to change.
    assert not current_app.conf.task_always_eager
    monkeypatch.setitem(current_app.conf.changes, "task_always_eager", True)


def explode(session):
    """Add epochs in which the loss explodes, and a network of which one layer holds nearly everything."""
    layers = {"conv1": {"type": "Conv2d", "parameters": 320}, "fc1": {"type": "Linear", "parameters": 1_000_000}}
    register_model(session, convert({"total_parameters": 1_000_320, "layers": layers}, Architecture))
    losses = {4: 0.2, 5: 0.15, 6: 60.0}
    records = [{"epoch": epoch, "loss": {"train_mean": loss}} for epoch, loss in losses.items()]
    store_epochs(session, [json.dumps(record).encode() for record in records])
