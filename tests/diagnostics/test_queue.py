"""The queue of record: who gets a run, who may finish it, what happens to those whose worker died."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from diagnostics import queue
from diagnostics.models import DiagnosticRun, State, Trigger

ANSWER = {"engine_version": "1", "health_score": 90}


@pytest.fixture
def rings(monkeypatch):
    """Runs that were rung for. The bell itself is tried in test_bell.py."""
    heard: list[int] = []
    monkeypatch.setattr(queue, "ring", lambda run_id, **options: heard.append(run_id) or True)
    return heard


@pytest.fixture
def run(empty_session):
    return DiagnosticRun.objects.create(session=empty_session)


def expired(run):
    DiagnosticRun.objects.filter(pk=run.pk).update(lease_until=now() - timedelta(seconds=1))


def test_claim_counts_the_attempt_before_the_work(run):
    claimed = queue.claim(run.pk)
    assert (claimed.state, claimed.attempts, claimed.seen) == (State.RUNNING, 1, 1)
    assert claimed.lease_until > now()


def test_claimed_run_is_not_given_twice(run):
    assert queue.claim(run.pk)
    assert queue.claim(run.pk) is None


def test_unknown_run_is_nobodys(db):
    assert queue.claim(4711) is None


@pytest.mark.django_db(transaction=True)
def test_of_32_claims_at_once_one_wins(run):
    start = threading.Barrier(32)

    def claim(_):
        start.wait()
        won = queue.claim(run.pk)
        connection.close()
        return won

    with ThreadPoolExecutor(32) as threads:
        winners = [won for won in threads.map(claim, range(32)) if won]
    run.refresh_from_db()
    assert (len(winners), run.attempts, run.claim) == (1, 1, winners[0].claim)


def test_finish_writes_the_answer_once(run):
    claimed = queue.claim(run.pk)
    assert queue.finish(claimed, **ANSWER)
    assert not queue.finish(claimed, engine_version="2")
    run.refresh_from_db()
    assert (run.state, run.engine_version, run.claim, run.lease_until) == (State.DONE, "1", None, None)


def test_answer_of_a_lost_claim_is_dropped(run):
    slow = queue.claim(run.pk)
    expired(run)
    queue.expire()
    fast = queue.claim(run.pk)
    assert not queue.finish(slow, engine_version="slow")
    assert queue.finish(fast, engine_version="fast")
    run.refresh_from_db()
    assert (run.engine_version, run.attempts) == ("fast", 2)


def test_failure_of_a_lost_claim_is_dropped(run):
    slow = queue.claim(run.pk)
    expired(run)
    queue.expire()
    assert not queue.fail(slow, "too late")
    run.refresh_from_db()
    assert (run.state, run.error) == (State.QUEUED, "")


def test_running_lease_is_respected(run):
    queue.claim(run.pk)
    assert queue.expire() == 0


def test_poison_fails_after_three_attempts_and_says_why(run, settings):
    for _ in range(settings.MLDIAG_MAX_ATTEMPTS):
        assert queue.claim(run.pk)
        expired(run)
        queue.expire()
    run.refresh_from_db()
    assert (run.state, run.attempts) == (State.FAILED, 3)
    assert "interrupted 3 times" in run.error


def test_poison_does_not_stop_others(run, empty_session, settings):
    other = DiagnosticRun.objects.create(session=empty_session)
    DiagnosticRun.objects.filter(pk=run.pk).update(attempts=settings.MLDIAG_MAX_ATTEMPTS)
    assert queue.waiting() == [run.pk, other.pk]
    assert queue.finish(queue.claim(other.pk), **ANSWER)


def test_restart_takes_back_whatever_was_claimed(run):
    queue.claim(run.pk)
    assert queue.resume() == 1
    assert queue.claim(run.pk).attempts == 2


def test_restart_does_not_revive_poison(run, settings):
    DiagnosticRun.objects.filter(pk=run.pk).update(attempts=settings.MLDIAG_MAX_ATTEMPTS - 1)
    queue.claim(run.pk)
    assert queue.resume() == 0
    run.refresh_from_db()
    assert run.state == State.FAILED


def test_waiting_runs_come_oldest_first(run, empty_session):
    older = DiagnosticRun.objects.create(session=empty_session, queued=now() - timedelta(minutes=1))
    assert queue.waiting() == [older.pk, run.pk]
    assert queue.waiting(longer_than=30) == [older.pk]


def automatic(session):
    return DiagnosticRun.objects.get(session=session, trigger=Trigger.AUTOMATIC)


def test_hundred_news_while_waiting_are_one_run_and_one_ring(empty_session, rings, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(100):
            queue.mark_due(empty_session)
    run = automatic(empty_session)
    assert (run.due, run.state, rings) == (100, State.QUEUED, [run.pk])


def test_hundred_news_while_running_are_one_more_diagnosis(empty_session, rings, django_capture_on_commit_callbacks):
    queue.mark_due(empty_session)
    claimed = queue.claim(automatic(empty_session).pk)
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(100):
            queue.mark_due(empty_session)
        assert queue.finish(claimed, **ANSWER)
    assert rings == [claimed.pk]
    again = queue.claim(claimed.pk)
    assert again.attempts == 1
    queue.finish(again, **ANSWER)
    assert automatic(empty_session).state == State.DONE


def test_run_that_is_due_again_keeps_its_answer(empty_session, rings):
    queue.mark_due(empty_session)
    queue.finish(queue.claim(automatic(empty_session).pk), **ANSWER)
    queue.mark_due(empty_session)
    assert (automatic(empty_session).state, automatic(empty_session).health_score) == (State.QUEUED, 90)


def test_failed_live_check_rests(empty_session, rings):
    queue.mark_due(empty_session)
    queue.fail(queue.claim(automatic(empty_session).pk), "a check stumbled")
    queue.mark_due(empty_session)
    assert automatic(empty_session).state == State.FAILED
    DiagnosticRun.objects.update(finished=now() - timedelta(hours=1))
    queue.mark_due(empty_session)
    assert automatic(empty_session).state == State.QUEUED


def test_end_of_a_session_asks_again_after_a_failure(empty_session, rings):
    queue.mark_due(empty_session)
    queue.fail(queue.claim(automatic(empty_session).pk), "a check stumbled")
    empty_session.status = "finished"
    queue.mark_due(empty_session)
    assert (automatic(empty_session).state, automatic(empty_session).attempts) == (State.QUEUED, 0)


@pytest.mark.django_db(transaction=True)
def test_news_at_the_same_moment_make_one_automatic_run(empty_session, rings):
    start = threading.Barrier(8)

    def tell(_):
        start.wait()
        with transaction.atomic():
            queue.mark_due(empty_session)
        connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(tell, range(8)))
    run = automatic(empty_session)
    assert (run.due, rings) == (8, [run.pk])


def test_news_cost_two_queries(empty_session, rings, django_assert_num_queries):
    queue.mark_due(empty_session)
    with django_assert_num_queries(2):
        queue.mark_due(empty_session)


@pytest.mark.parametrize(("status", "state"), [("finished", State.QUEUED), ("running", State.FAILED)])
def test_session_that_ended_during_a_failing_check_is_asked_about_again(empty_session, rings, status, state):
    queue.mark_due(empty_session)
    claimed = queue.claim(automatic(empty_session).pk)
    type(empty_session).objects.update(status=status)
    queue.mark_due(empty_session)
    queue.fail(claimed, "a check stumbled over half a session")
    assert automatic(empty_session).state == state


def test_failure_without_news_stays_a_failure(empty_session, rings):
    type(empty_session).objects.update(status="finished")
    queue.mark_due(empty_session)
    queue.fail(queue.claim(automatic(empty_session).pk), "a check stumbled")
    assert automatic(empty_session).state == State.FAILED
