"""Many workers and people at once, with real transactions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from diagnostics.problem_models import Activity, Occurrence, Problem
from diagnostics.services import problems
from diagnostics.services.problems import Person
from tests.diagnostics.triage import issue, judge, make_session, tell, the_problem

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 12
BY = Person(None, "alice")


def at_once(*calls):
    start = threading.Barrier(len(calls))

    def closing(call):
        try:
            start.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [made.result() for made in [pool.submit(closing, call) for call in calls]]


def judging(session, *layers):
    return lambda: judge(session, *(issue(layer=layer) for layer in layers))


def test_sessions_judged_at_once_share_a_problem(project):
    at_once(*(judging(make_session(project, day), "fc1") for day in range(THREADS)))
    assert (the_problem().session_count, Occurrence.objects.count()) == (THREADS, THREADS)
    assert Activity.objects.filter(act="found").count() == 1
    assert the_problem().last_session.name == f"run {THREADS - 1}"


def test_problems_in_any_order_do_not_block_each_other(project):
    orders = [("a", "b", "c"), ("c", "b", "a")] * (THREADS // 2)
    at_once(*(judging(make_session(project, day), *layers) for day, layers in enumerate(orders)))
    assert list(Problem.objects.values_list("session_count", flat=True)) == [THREADS] * 3


def test_people_and_workers_at_once_lose_nothing(project):
    tell(project, "WW", layer="fc1")
    tell(project, "WW", layer="conv", first=2)
    target, other = Problem.objects.order_by("pk")
    at_once(
        *(judging(make_session(project, day), "fc1", "conv") for day in range(10, 14)),
        *[lambda: problems.comment([target], BY, "Seen.")] * 3,
        lambda: problems.assign([target, other], BY, None),
        lambda: problems.merge(target, [other], BY),
    )
    assert Problem.objects.unmerged().get().session_count == Occurrence.objects.count() == 8
    assert Activity.objects.filter(problem=target, act="commented").count() == 3
