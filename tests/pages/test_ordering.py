"""Lists that an index of entries answers say what a look at each session would say."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from sessions import listing
from sessions.listing import Listing
from sessions.models import SessionStatus, TrainSession
from sessions.services import archive_sessions
from tests.pages.rows import make_session, make_sessions

RUNNING = {"status": SessionStatus.RUNNING, "finished": None}


@pytest.fixture
def mixed(project):
    """Sessions with the metric and without, ended and running, with ties."""
    for place in range(23):
        metrics = {"acc": place * 7 % 5 / 4} if place % 4 else {}
        running = RUNNING if place % 3 == 0 else {}
        make_session(project, f"run {place}", metrics=metrics, hyperparameters={"lr": place % 6}, **running)
    archive_sessions(project, [project.sessions.earliest("pk").pk])
    return project


def paged(project, query, monkeypatch, size):
    monkeypatch.setattr(listing, "SESSIONS_ON_A_PAGE", size)
    asked = Listing.of(QueryDict(query))
    pages = -(-asked.narrowed(project.sessions.all()).count() // size)
    return [session.pk for page in range(1, pages + 1) for session in asked.page(project, str(page)).object_list]


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("sort", ["metric.acc", "-metric.acc", "hp.lr", "-hp.lr", "metric.none", "-metric.none"])
def test_pages_have_each_session_in_order(mixed, monkeypatch, sort, size):
    found = paged(mixed, f"sort={sort}", monkeypatch, size)
    assert found == list(Listing.of(QueryDict(f"sort={sort}")).numbers(mixed.sessions.all()))


def test_the_archive_sorts_by_itself(mixed, monkeypatch):
    archived = mixed.sessions.exclude(archived=None).get()
    assert paged(mixed, "sort=hp.lr&archived=1", monkeypatch, 50) == [archived.pk]


@pytest.mark.parametrize("query", ["tag=odd", "tag=odd&sort=val", "tag=odd&sort=hp.lr", "tag=odd&status=finished"])
def test_a_tag_narrows_beside_all_else(project, charlies_project, monkeypatch, query):
    wanted = [make_session(project, f"run {place}", tags=["odd"] * (place % 2)).pk for place in range(6)][1::2]
    make_session(charlies_project, "secret", tags=["odd"])
    assert sorted(paged(project, query, monkeypatch, 2)) == wanted


def test_sessions_of_other_projects_are_not_sorted_in(mixed, charlies_project, monkeypatch):
    make_session(charlies_project, "secret", metrics={"acc": 9.0})
    make_session(charlies_project, "live secret", metrics={"acc": 9.0}, **RUNNING)
    assert (
        TrainSession.objects.filter(project=mixed).count() == len(paged(mixed, "sort=metric.acc", monkeypatch, 5)) + 1
    )


@pytest.mark.parametrize("query", ["tag=tuning", "sort=metric.acc", "sort=-metric.acc", "sort=hp.lr"])
def test_a_page_takes_as_many_queries_for_many_sessions(project, query):
    counts = []
    for _ in range(2):
        make_sessions(project, 60, tags=["tuning"], metrics={"acc": 0.5}, hyperparameters={"lr": 0.1})
        with CaptureQueriesContext(connection) as seen:
            Listing.of(QueryDict(query)).page(project, "1")
        counts.append(len(seen))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("query", ["tag=tuning", "sort=metric.acc", "sort=-metric.acc", "sort=hp.lr"])
def test_the_first_page_is_found_by_the_index_of_entries(project, query):
    make_sessions(project, 800, tags=["tuning"], metrics={"acc": 0.5}, hyperparameters={"lr": 0.1})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as seen:
        Listing.of(QueryDict(query)).page(project, "1")
    found = [
        each["sql"] for each in seen.captured_queries if "ORDER BY" in each["sql"] and "_sessionentry" in each["sql"]
    ]
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {found[0].replace('%', '%%')}", [])
        plan = str(cursor.fetchall())
    assert "training_by_entry" in plan
    assert not re.search(r"Seq Scan|Sort|TEMP B-TREE", plan)
