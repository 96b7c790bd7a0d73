from __future__ import annotations

import re

import pytest

from diagnostics.engine import IssueSeverity
from sessions.models import SessionStatus
from tests.diagnostics.triage import issue, judge, tell
from tests.diagnostics.triage import make_session as make_session_of_day
from tests.pages.rows import MARKUP, make_session, make_sessions


def names(page):
    return re.findall(r'<th scope="row" class="column-name"> <a href="/sessions/\d+">([^<]*)</a>', page)


def test_lists_a_session_with_its_figures(text, project, bad_run):
    page = text(f"/projects/{project.pk}")
    assert names(page) == ["too hot"]
    for shown in ("crashed", "71 <small>good</small>", "12 min"):
        assert shown in page


def test_the_newest_comes_first(text, project):
    make_sessions(project, 3)
    assert names(text(f"/projects/{project.pk}")) == ["run 00002", "run 00001", "run 00000"]


@pytest.mark.parametrize("query", ["sort=nonsense", "sort=-", "page=-7", "page=x", "status=nonsense", "sort=-started"])
def test_a_strange_query_shows_everything(text, project, query):
    make_sessions(project, 3)
    assert len(names(text(f"/projects/{project.pk}?{query}"))) == 3


@pytest.mark.parametrize(
    "sort", ["name", "status", "score", "issues", "epochs", "train", "val", "started", "duration", "co2"]
)
def test_each_column_sorts_both_ways(text, project, sort):
    make_sessions(project, 12)
    up = names(text(f"/projects/{project.pk}?sort={sort}"))
    down = names(text(f"/projects/{project.pk}?sort=-{sort}"))
    assert len(up) == len(down) == 12
    assert sort == "status" or up != down


@pytest.mark.parametrize("sort", ["score", "-score"])
def test_what_has_no_value_comes_last(text, project, sort):
    make_session(project, "without")
    make_session(project, "good", health_score=90)
    make_session(project, "bad", health_score=10)
    assert names(text(f"/projects/{project.pk}?sort={sort}"))[-1] == "without"


def test_the_sorted_column_is_announced(text, project, healthy_run):
    assert 'class="column-score" aria-sort="descending"' in text(f"/projects/{project.pk}?sort=-score")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=OVER", ["overnight"]),
        ("q=none", []),
        ("status=running", ["overnight"]),
        ("status=finished&q=noon", ["noon"]),
    ],
)
def test_filters(text, project, query, found):
    make_session(project, "noon")
    make_session(project, "overnight", status=SessionStatus.RUNNING, finished=None)
    assert names(text(f"/projects/{project.pk}?{query}")) == found


def test_says_when_nothing_matches(text, project, healthy_run):
    assert "No session matches" in text(f"/projects/{project.pk}?q=nothing")


def test_pages_hold_fifty(text, project):
    make_sessions(project, 120)
    assert len(names(text(f"/projects/{project.pk}"))) == 50
    assert len(names(text(f"/projects/{project.pk}?page=3"))) == 20


def test_links_keep_the_query(text, project):
    make_sessions(project, 120)
    assert "?q=run&amp;sort=-score&amp;page=2" in text(f"/projects/{project.pk}?q=run&sort=-score")


def test_an_empty_project_shows_its_own_lines(text, project):
    assert f"Observer(project_id={project.pk}," in text(f"/projects/{project.pk}")


def test_draws_the_trend(text, project):
    make_sessions(project, 4)
    assert "Health over the latest 4 sessions" in text(f"/projects/{project.pk}")


def test_recurring_problems_are_the_gravest_first_then_the_most_frequent(text, project):
    tell(project, "WW", layer="often")
    judge(make_session_of_day(project, 2), issue(layer="once"), issue(IssueSeverity.critical, layer="grave"))
    recurring = text(f"/projects/{project.pk}").partition("Recurring problems")[2].partition("</section>")[0]
    assert re.findall("<code>(.*?)</code>", recurring) == ["grave", "often", "once"]


def test_draws_what_was_emitted(text, project):
    for number, mass in enumerate((0.001, None, 0.003)):
        make_session(project, f"run {number}", co2_kg=mass)
    page = text(f"/projects/{project.pk}")
    assert "CO₂ of the latest 2 sessions" in page
    assert "<title>run 2: 3 g</title>" in page


def test_one_session_is_no_trend(text, project, healthy_run):
    assert "Health over" not in text(f"/projects/{project.pk}")


def test_markup_in_a_name_is_text(text, project):
    make_session(project, MARKUP, tags=[MARKUP], health_score=3)
    page = text(f"/projects/{project.pk}")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_costs_the_same_for_one_and_for_many(as_alice, project, django_assert_num_queries):
    make_session(project)
    # The login's session and user, the project, who owns it, the number of sessions, a page of them, the trend, what
    # can be a column, the problems.
    for number in (0, 199):
        make_sessions(project, number)
        with django_assert_num_queries(10):
            as_alice.get(f"/projects/{project.pk}")


def test_a_character_that_postgresql_refuses_is_searched_for_in_vain(text, project, healthy_run):
    assert "No session matches" in text(f"/projects/{project.pk}?q=%00")


def test_a_run_that_diverged_shows_its_last_loss(text, project, bad_run):
    assert '<td class="number">NaN</td>' in text(f"/projects/{project.pk}")
