"""The columns of a project's table, what it sorts and filters by beyond the usual ones."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from observer_client.record import Ending
from sessions.listing import Listing, column_of
from sessions.models import TrainSession
from sessions.services import finish, store_epochs
from tests.pages.rows import MARKUP, epoch, make_session, make_sessions


def names(page):
    return re.findall(r'<th scope="row" class="column-name"> <a href="/sessions/\d+">([^<]*)</a>', page)


def heads(page):
    return re.findall(r'<th scope="col"[^>]*> <a href="[^"]*">([^<]*)</a>', page)


@pytest.fixture
def tuned(project):
    for name, lr in (("slow", 0.01), ("fast", 0.5), ("middle", 0.1)):
        make_session(project, name, hyperparameters={"lr": lr, "depth": 3}, metrics={"val_acc": 1 - lr})
    make_session(project, "none")


def test_columns_are_those_of_the_address_in_its_order(text, project, tuned):
    page = text(f"/projects/{project.pk}?columns=name,hp.lr,score,metric.val_acc")
    assert heads(page) == ["Session", "lr", "Health", "val_acc"]
    assert '<td class="number">0.5</td>' in page


def test_a_form_sends_them_one_by_one(text, project, tuned):
    assert heads(text(f"/projects/{project.pk}?columns=hp.lr&columns=epochs")) == ["Session", "lr", "Epochs"]


@pytest.mark.parametrize(
    "columns", ["nonsense", "hp.", "hp.0", "hp.-1", 'hp.a"b', "hp.a\\b", "x.y", "hp." + "n" * 101, "name,name"]
)
def test_what_is_no_column_is_left_out(text, project, tuned, columns):
    assert heads(text(f"/projects/{project.pk}?columns={columns}")) == ["Session"]


@pytest.mark.parametrize("key", ["hp.lr", "metric.val_acc"])
def test_an_entry_sorts_both_ways_and_its_absence_comes_last(text, project, tuned, key):
    up = names(text(f"/projects/{project.pk}?sort={key}"))
    down = names(text(f"/projects/{project.pk}?sort=-{key}"))
    assert up[:3] == down[2::-1]
    assert up[3] == down[3] == "none"


@pytest.mark.parametrize("name", ["a'b", "a%b", "a b", "ä", "a.b", "$", "[0]"])
def test_a_strange_name_of_a_hyperparameter_is_a_column(text, project, name):
    make_session(project, "odd", hyperparameters={name: 0.125})
    page = text(f"/projects/{project.pk}?" + query(columns=f"hp.{name}"))
    assert '<td class="number">0.125</td>' in page


def query(**fields):
    made = QueryDict(mutable=True)
    made.update(fields)
    return made.urlencode()


def test_hyperparameters_and_metrics_are_offered(text, project, tuned):
    page = text(f"/projects/{project.pk}")
    assert 'value="hp.depth"' in page
    assert 'value="metric.val_acc"' in page


def test_markup_in_a_name_is_text(text, project):
    make_session(project, "odd", hyperparameters={MARKUP: MARKUP}, metrics={MARKUP: 1.0})
    assert "<script>alert" not in text(f"/projects/{project.pk}?" + query(columns=f"hp.{MARKUP}"))


@pytest.mark.parametrize("tag", ["good", "ä ö", 'a"b', "a\\b"])
def test_a_tag_filters_exactly(text, project, tag):
    make_session(project, "tagged", tags=["other", tag])
    make_session(project, "untagged", tags=[f"{tag}!"])
    assert names(text(f"/projects/{project.pk}?{query(tag=tag)}")) == ["tagged"]


def test_columns_move(db):
    listing = Listing.of(QueryDict("columns=name,score,epochs,val"))
    assert [(column.key, earlier, later) for column, earlier, later in listing.moves()] == [
        ("name", "", ""),
        ("score", "", "name,epochs,score,val"),
        ("epochs", "name,epochs,score,val", "name,score,val,epochs"),
        ("val", "name,score,val,epochs", ""),
    ]


@pytest.mark.parametrize("key", ["name", "hp.lr", "metric.a.b"])
def test_a_column_is_found_by_its_key(key):
    assert column_of(key).key == key


def test_metrics_are_kept_for_the_table(session):
    loss = {"train_mean": 1.0, "val": {"val_loss": 1.0, "acc": 0.5, "f1": float("nan"), "x" * 200: 1.0}}
    store_epochs(session, [epoch(8, 1.0, 1.0, loss=loss)])
    session.refresh_from_db()
    assert session.metrics == {"acc": 0.5}


def test_the_length_of_a_session_is_kept(session):
    finish(session, Ending(status="finished"))
    session.refresh_from_db()
    assert session.duration_seconds == pytest.approx((session.finished - session.started).total_seconds())


@pytest.mark.parametrize("sort", ["duration", "-duration", "-started"])
def test_the_first_page_of_ten_thousand_is_found_by_an_index(project, sort):
    make_sessions(project, 3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = Listing.of(QueryDict(f"sort={sort}")).numbers(TrainSession.objects.filter(project=project))[:50].explain()
    assert re.search(r"index", plan, re.IGNORECASE)
    assert not re.search(r"Seq Scan|Sort|TEMP B-TREE", plan)


@pytest.fixture
def analyzed(project):
    """Many sessions, of which the database knows how many they are; it reads no table where an index will do."""
    make_sessions(project, 1000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    return TrainSession.objects.filter(project=project)


def of_an_index_alone(plan):
    # PostgreSQL looks at rows, too, that it has not vacuumed yet.
    return re.search(r"COVERING INDEX|Index (Only )?Scan using training_(figures|by_start|by_duration)", plan)


@pytest.mark.parametrize(
    "query", ["sort=-score", "sort=val", "sort=issues", "sort=epochs", "sort=co2", "sort=seen", "q=00042"]
)
def test_a_sort_by_a_figure_and_a_search_read_no_session(analyzed, query):
    plan = Listing.of(QueryDict(query)).numbers(analyzed)[:50].explain()
    assert of_an_index_alone(plan)


@pytest.mark.parametrize("query", ["", "status=finished", "q=00042"])
def test_a_count_reads_no_session(analyzed, query):
    with CaptureQueriesContext(connection) as seen:
        Listing.of(QueryDict(query)).narrowed(analyzed).count()
    with connection.cursor() as cursor:
        explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        cursor.execute(f"{explain} {seen.captured_queries[0]['sql'].replace('%', '%%')}", [])
        plan = str(cursor.fetchall())
    assert of_an_index_alone(plan)
