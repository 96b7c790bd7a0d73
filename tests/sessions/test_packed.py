from __future__ import annotations

import json

import pytest

from sessions.models import TrainSession
from sessions.services import packed_epochs, store_epochs

pytestmark = pytest.mark.django_db


def test_packed_epochs_come_as_they_are_stored_in_order(session):
    store_epochs(session, [json.dumps({"epoch": epoch, "duration_seconds": 1.5}).encode() for epoch in (9, 7, 8)])
    stored = sorted((step.epoch, bytes(step.packed)) for step in session.steps.all())
    assert packed_epochs(session) == [blob for _, blob in stored]
    assert [epoch for epoch, _ in stored][-3:] == [7, 8, 9]


def test_packed_epochs_are_those_of_the_session(session):
    assert packed_epochs(TrainSession.objects.create(project=session.project)) == []
