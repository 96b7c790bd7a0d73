"""Many clients send the same at once, with real transactions."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connection

from observer_client.record import Ending, LogLine, Opening, to_json
from projects.models import ApiKey, KeyKind
from sessions.models import TrainSession
from sessions.services import finish, open_session, store_epochs, store_logs
from sessions.signals import session_finished
from tests.conftest import epoch_record

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


def at_once(call):
    def closing(number):
        try:
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(closing, range(THREADS)))


def test_one_epoch_from_many_threads_is_stored_once(session):
    body = json.dumps(epoch_record(4)).encode()
    results = at_once(lambda _: store_epochs(session, [body])[0].status.value)
    assert Counter(results) == {"stored": 1, "duplicate": THREADS - 1}
    session.refresh_from_db()
    assert session.epoch_count == session.steps.count() == 4


def test_different_epochs_from_many_threads_are_all_counted(session):
    at_once(lambda number: store_epochs(session, [json.dumps(epoch_record(number + 4)).encode()]))
    session.refresh_from_db()
    assert session.epoch_count == session.steps.count() == 3 + THREADS
    assert session.train_loss == 1 / (3 + THREADS)


def test_one_log_line_from_many_threads_is_stored_once(session):
    body = to_json(LogLine(msg="hello", seq=1)).encode()
    results = at_once(lambda _: store_logs(session, [body])[0].status.value)
    assert Counter(results) == {"stored": 1, "duplicate": THREADS - 1}


def test_unnumbered_lines_from_many_threads_all_get_a_number(session):
    at_once(lambda number: store_logs(session, [to_json(LogLine(msg=str(number))).encode()]))
    assert list(session.logs.order_by("seq").values_list("seq", flat=True)) == list(range(THREADS))


def test_one_opening_from_many_threads_is_one_session(project):
    opening = Opening(key=str(uuid4()), project_id=project.pk)
    key = ApiKey(project=project, kind=KeyKind.INGEST)
    opened = at_once(lambda _: open_session(opening, user=None, key=key))
    assert len({session.pk for session, _ in opened}) == 1
    assert sum(created for _, created in opened) == 1


def test_one_ending_from_many_threads_is_told_once(session):
    told = []
    session_finished.connect(lambda **news: told.append(news), dispatch_uid="test", weak=False)
    try:
        at_once(lambda _: finish(TrainSession.objects.get(pk=session.pk), Ending()))
    finally:
        session_finished.disconnect(dispatch_uid="test")
    assert len(told) == 1
