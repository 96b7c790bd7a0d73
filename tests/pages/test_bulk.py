"""What people do with the sessions they have ticked, and with the archive."""

from __future__ import annotations

import pytest
from django.test import Client

from diagnostics.models import Problem
from diagnostics.services.problems import note_findings
from sessions.models import TrainSession
from tests.diagnostics.test_news import issue
from tests.pages.rows import MARKUP, make_session


@pytest.fixture
def three(project):
    return [make_session(project, name) for name in ("one", "two", "three")]


@pytest.fixture
def do(alice, project):
    def post(action, sessions, user=alice, **fields):
        client = Client()
        client.force_login(user)
        body = {"action": action, "sessions": [session.pk for session in sessions], **fields}
        return client.post(f"/projects/{project.pk}/sessions", body, follow=True)

    return post


def names(project):
    return sorted(project.sessions.kept().values_list("name", flat=True))


def tags(project):
    return dict(project.sessions.values_list("name", "tags"))


def test_comparing_leads_to_the_comparison(do, three):
    answer = do("compare", three[:2])
    assert answer.redirect_chain[0][0] == f"/compare?sessions={three[0].pk},{three[1].pk}"


def test_a_tag_is_added_once(do, project, three):
    for _ in range(2):
        do("tag", three[:2], tag=" good ")
    assert tags(project) == {"one": ["good"], "two": ["good"], "three": []}


def test_a_tag_is_removed(do, project, three):
    do("tag", three, tag="good")
    do("untag", three[:1], tag="good")
    assert tags(project) == {"one": [], "two": ["good"], "three": ["good"]}


@pytest.mark.parametrize("tag", ["", "   ", "x" * 201])
def test_a_tag_that_is_none_is_refused(do, project, three, tag):
    assert "A tag has 1 to 200 characters" in do("tag", three, tag=tag).content.decode()
    assert tags(project)["one"] == []


def test_what_is_archived_is_out_of_the_way(do, project, three):
    assert "2 sessions archived." in do("archive", three[:2]).content.decode()
    assert names(project) == ["three"]


def test_what_is_archived_comes_back(do, project, three):
    do("archive", three)
    do("restore", three[:1])
    assert names(project) == ["one"]


def test_the_archive_lists_what_is_in_it(do, text, project, three):
    do("archive", three[:1])
    page = text(f"/projects/{project.pk}?archived=1")
    assert ">one</a>" in page
    assert ">two</a>" not in page


def test_deleting_asks_once_more(do, project, three):
    assert "Delete 2 sessions?" in do("delete", three[:2]).content.decode()
    assert len(names(project)) == 3


def test_deleting_deletes(do, project, three):
    assert "2 sessions deleted." in do("delete", three[:2], confirmed="yes").content.decode()
    assert names(project) == ["three"]


def test_problems_forget_what_was_deleted(do, project, three):
    for session in three:
        note_findings(session, [issue()], ["nan-in-loss"])
    do("delete", three[:2], confirmed="yes")
    assert Problem.objects.get().session_count == 1


def test_members_cannot_delete(do, project, bob, three):
    assert do("delete", three, user=bob, confirmed="yes").status_code == 403
    assert len(names(project)) == 3


@pytest.mark.parametrize("action", ["tag", "archive", "compare", "delete"])
def test_strangers_get_404(do, charlie, three, action):
    assert do(action, three, user=charlie).status_code == 404


@pytest.mark.parametrize("action", ["tag", "archive", "delete"])
def test_sessions_of_other_projects_are_left_alone(do, charlies_project, action):
    other = make_session(charlies_project, "cat")
    do(action, [other], tag="mine", confirmed="yes")
    other.refresh_from_db()
    assert (other.tags, other.archived) == ([], None)


@pytest.mark.parametrize("action", ["archive", "nonsense", ""])
def test_without_a_tick_nothing_happens(do, project, three, action):
    assert "Nothing was" in do(action, []).content.decode()
    assert len(names(project)) == 3


def test_an_unknown_action_does_nothing(do, project, three):
    assert "Nothing was done" in do("explode", three).content.decode()


def test_strange_numbers_are_passed_over(do, alice, project, three):
    client = Client()
    client.force_login(alice)
    client.post(f"/projects/{project.pk}/sessions", {"action": "archive", "sessions": ["x", "-1", "9" * 30, "²"]})
    assert len(names(project)) == 3


def test_leads_back_to_the_table_as_it_was(do, project, three):
    answer = do("archive", three[:1], query="sort=-score&q=t")
    assert answer.redirect_chain[0][0] == f"/projects/{project.pk}?sort=-score&q=t"


@pytest.mark.parametrize("query", ["//evil.example", "\r\nX: y", "q=%0d%0a"])
def test_leads_nowhere_else(do, project, three, query):
    assert do("archive", three[:1], query=query).redirect_chain[0][0].startswith(f"/projects/{project.pk}?")


def test_markup_in_what_is_deleted_is_text(do, project):
    assert "<script>alert" not in do("delete", [make_session(project, MARKUP)]).content.decode()


def test_an_action_without_a_token_is_refused(alice, project, three):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    body = {"action": "archive", "sessions": [three[0].pk]}
    assert client.post(f"/projects/{project.pk}/sessions", body).status_code == 403
    assert TrainSession.objects.kept().count() == 3
