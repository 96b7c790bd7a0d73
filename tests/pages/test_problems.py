from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from diagnostics.problem_models import Problem, SavedSearch
from diagnostics.services import mark_due, problems, work
from diagnostics.services.problems import Person
from diagnostics.services.problems.saving import MOST_SEARCHES
from sessions.models import TrainSession
from sessions.services import store_epochs
from tests.diagnostics.triage import issue, judge, make_session, tell, the_problem
from tests.pages.rows import MARKUP, epoch

BULK = "/problems/actions"


@pytest.fixture
def triage(project):
    """A new problem on fc1, an ongoing one on conv, both dead neurons, and an exploding loss that was resolved."""
    tell(project, "WWW", layer="conv")
    judge(make_session(project, 3), issue(check_id="loss-explosion", layer=None), issue(layer="conv"))
    problems.resolve(Problem.objects.filter(check_id="loss-explosion"), Person(None, "alice"))
    judge(make_session(project, 4), issue(), issue(layer="conv"))
    return project


def titles(page):
    """What is listed: layer patterns, or the check where there is none."""
    rows = re.findall(r'<th scope="row" class="column-problem">(.*?)</th>', page)
    return [(re.findall(r"<code>(.*?)</code>", row) or re.findall(r"whole\">([\w-]+)", row))[0] for row in rows]


def on_page(text, path):
    return sorted(titles(text(path)))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["conv", "fc*"]),
        ("status=inbox", ["fc*"]),
        ("status=new", ["fc*"]),
        ("status=ongoing", ["conv"]),
        ("status=resolved", ["loss-explosion"]),
        ("status=muted", []),
        ("status=all", ["conv", "fc*", "loss-explosion"]),
        ("status=nonsense", ["conv", "fc*"]),
        ("q=CONV", ["conv"]),
        ("q=%00", []),
        ("status=all&check=loss-explosion", ["loss-explosion"]),
        ("severity=critical", []),
        ("severity=warning&category=sustainability", ["conv", "fc*"]),
        ("category=memory", []),
        ("assignee=none", ["conv", "fc*"]),
        ("assignee=me", []),
        ("assignee=bob", []),
        ("sort=nonsense&page=x&severity=x", ["conv", "fc*"]),
    ],
)
def test_filters(text, triage, query, found):
    assert on_page(text, f"/projects/{triage.pk}/problems?{query}") == found


@pytest.mark.parametrize("sort", ["severity", "last", "first", "sessions", "changed", "title"])
def test_sorts(text, triage, sort):
    listed = titles(text(f"/projects/{triage.pk}/problems?sort={sort}"))
    assert listed[0] == ("conv" if sort in ("sessions", "title") else "fc*")


def test_inbox_is_what_needs_a_look_in_all_projects(text, triage, charlies_project):
    tell(charlies_project, "W", layer="secret")
    page = text("/problems")
    assert titles(page) == ["fc*"]
    assert "· Digits" in page
    assert "secret" not in page


def test_tells_how_often_and_when(text, triage):
    page = text(f"/projects/{triage.pk}/problems")
    for shown in ("in 5 of the last 5", "in 1 of the last 5", "run 4", "2 problems"):
        assert shown in page


def test_tabs_count_what_the_filter_leaves(text, triage):
    page = text(f"/projects/{triage.pk}/problems?q=conv")
    assert re.findall(r'>([\w ]+) <span class="muted">(\d+)</span></a>', page) == [
        ("Needs a look", "0"),
        ("Open", "1"),
        ("Resolved", "0"),
        ("Muted", "0"),
        ("All", "1"),
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [("/problems", "No problem has been found yet"), ("/projects/{pk}/problems", "No problem has been found yet")],
)
def test_nothing_yet(text, project, path, words):
    assert words in text(path.format(pk=project.pk))


def test_nothing_needs_a_look(text, project):
    tell(project, "WWW")
    assert "Nothing needs a look." in text("/problems")


def test_nothing_matches(text, triage):
    assert "No problem matches" in text(f"/projects/{triage.pk}/problems?q=nothing")


def test_pages_hold_fifty(text, project):
    names = [chr(97 + number % 26) * (1 + number // 26) for number in range(60)]
    judge(make_session(project, 0), *(issue(layer=name) for name in names))
    assert len(titles(text(f"/projects/{project.pk}/problems"))) == 50
    assert len(titles(text(f"/projects/{project.pk}/problems?page=2"))) == 10


@pytest.mark.parametrize("path", ["/problems", "/projects/{pk}/problems"])
def test_lists_cost_the_same_for_one_and_for_many(as_alice, project, path, django_assert_num_queries):
    # The login's session and user; the page and its number; three for the rates; tabs and checks; on a project's page
    # the project, its members, the saved searches and whether Alice is an owner.
    number = 9 if path == "/problems" else 13
    for story in ("W", "W" * 30):
        tell(project, story, first=len(story) * 2, layer="layer.one")
        judge(make_session(project, 0), *(issue(layer=chr(97 + letter)) for letter in range(len(story) % 26)))
        with django_assert_num_queries(number):
            as_alice.get(f"{path.format(pk=project.pk)}?status=all")


def test_problem_page_tells_all(text, triage):
    page = text(the(triage, "fc*").get_absolute_url())
    for shown in (
        "Dead neurons",
        "in 1 of the last 5",
        "What it means",
        "How to fix it",
        "About dead-neurons",
        'title="run 2: clean"',
        'title="run 4: warning"',
        "found it for the first time",
    ):
        assert shown in page


def the(project, pattern):
    return Problem.objects.get(project=project, layer_pattern=pattern)


def test_problem_page_costs_constant_queries(as_alice, project, django_assert_num_queries):
    for number, story in ((0, "W"), (1, "W.W" * 10)):
        tell(project, story, first=number)
        with django_assert_num_queries(20):
            as_alice.get(the_problem().get_absolute_url())


def test_problem_of_a_check_that_is_gone(text, project):
    judge(make_session(project, 0), issue(check_id="gone-check"))
    assert "This server has no check gone-check any more" in text(the_problem().get_absolute_url())


def test_problem_whose_sessions_are_gone(text, project):
    tell(project, "W")
    TrainSession.objects.all().delete()
    assert "No session shows it any more" in text(the_problem().get_absolute_url())


def test_merged_problem_leads_to_what_it_became(as_alice, triage):
    kept, gone = the(triage, "fc*"), the(triage, "conv")
    problems.merge(kept, [gone], Person(None, "alice"))
    assert as_alice.get(gone.get_absolute_url())["Location"] == kept.get_absolute_url()


def test_markup_stays_text(text, project):
    judge(make_session(project, 0), issue(layer=MARKUP, check_id="dead-neurons"))
    problems.comment(Problem.objects.all(), Person(None, MARKUP), MARKUP)
    for path in ("/problems", the_problem().get_absolute_url()):
        assert "<script>alert" not in text(path)
        assert "<img src=x" not in text(path)


@pytest.mark.parametrize(
    ("action", "standing"),
    [
        ("resolve", "resolved"),
        ("resolve_next", "resolved"),
        ("review", "ongoing"),
        ("reopen", "ongoing"),
        ("mute", "muted"),
        ("mute?sessions=5", "muted"),
        ("assign?assignee=me", "new"),
        ("assign?assignee=bob", "new"),
    ],
)
def test_bulk_actions(as_alice, project, action, standing):
    judge(make_session(project, 0), issue(), issue(layer="conv"))
    chosen = list(Problem.objects.values_list("pk", flat=True))
    answer = as_alice.post(BULK, {"problem": chosen, "action": action, "next": f"/projects/{project.pk}/problems"})
    assert answer["Location"] == f"/projects/{project.pk}/problems"
    assert {problem.standing for problem in Problem.objects.all()} == {standing}
    assert {problem.assignee_id is not None for problem in Problem.objects.all()} == {"assign" in action}
    assert "2 problems " in as_alice.get("/problems").content.decode()


def test_bulk_merge(as_alice, triage):
    as_alice.post(BULK, {"problem": [the(triage, "fc*").pk, the(triage, "conv").pk], "action": "merge"})
    assert Problem.objects.unmerged().count() == 2


def test_muted_until_a_day(as_alice, text, triage):
    tomorrow = f"{now() + timedelta(days=1):%Y-%m-%d}"
    as_alice.post(BULK, {"problem": the(triage, "conv").pk, "action": "mute", "until": tomorrow})
    assert f"Muted until a session started after {tomorrow} 00:00 UTC shows it" in text(
        f"/problems/{the(triage, 'conv').pk}"
    )
    assert on_page(text, f"/projects/{triage.pk}/problems?status=muted") == ["conv"]


def test_what_was_merged_is_taken_out_again(as_alice, text, triage):
    conv, fc = (the(triage, pattern) for pattern in ("conv", "fc*"))
    as_alice.post(BULK, {"problem": [fc.pk, conv.pk], "action": "merge", "into": conv.pk})
    assert f'value="unmerge?part={fc.pk}"' in text(f"/problems/{conv.pk}")
    as_alice.post(BULK, {"problem": conv.pk, "action": f"unmerge?part={fc.pk}"})
    assert on_page(text, f"/projects/{triage.pk}/problems?status=all") == ["conv", "fc*", "loss-explosion"]
    assert f"<b>alice</b> took out from #{conv.pk}" in text(f"/problems/{fc.pk}")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": "resolve"}, "Choose at least one problem."),
        ({"action": "nonsense", "problem": "{pk}"}, "not a valid choice"),
        ({"problem": "{pk}"}, "Action:"),
        ({"action": "mute", "sessions": "0", "problem": "{pk}"}, "Sessions:"),
        ({"action": "mute", "until": "2001-01-01", "problem": "{pk}"}, "has passed"),
        ({"action": "assign?assignee=charlie", "problem": "{pk}"}, "charlie is not a member"),
        ({"action": "merge", "problem": "{pk}"}, "two problems or more"),
        ({"action": "unmerge", "problem": "{pk}"}, "Nothing was merged"),
        ({"action": "unmerge?part=999999", "problem": "{pk}"}, "no part of this problem"),
        ({"action": "merge", "into": "999999", "problem": "{pk}"}, "no other problem 999999"),
        ({"action": "comment", "text": "  ", "problem": "{pk}"}, "A comment has"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_done_is_said(as_alice, charlie, project, form, words):
    tell(project, "W")
    sent = {name: value.format(pk=the_problem().pk) for name, value in form.items()}
    page = as_alice.post(BULK, sent, follow=True).content.decode()
    assert words in page
    assert (the_problem().standing, the_problem().activity.count()) == ("new", 1)


@pytest.mark.parametrize(
    "next_page", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "", "problems"]
)
def test_leads_nowhere_else(as_alice, triage, next_page):
    answer = as_alice.post(BULK, {"problem": the(triage, "fc*").pk, "action": "resolve", "next": next_page})
    assert answer["Location"] == "/problems"


def test_a_comment_is_shown(as_alice, text, triage):
    problem = the(triage, "fc*")
    as_alice.post(BULK, {"problem": problem.pk, "action": "comment", "text": "Seen in the lab, too."})
    page = text(problem.get_absolute_url())
    assert "<b>alice</b> commented" in page
    assert "Seen in the lab, too." in page


def test_one_layer_is_muted(as_alice, text, triage):
    problem = the(triage, "fc*")
    as_alice.post(BULK, {"problem": problem.pk, "action": "mute", "layer": "fc1"})
    assert "Findings on these layers do not count" in text(problem.get_absolute_url())


def test_a_search_is_saved_used_and_forgotten(as_alice, text, triage):
    path = f"/projects/{triage.pk}/problems"
    for query in ("q=old", "q=conv&status=open"):
        as_alice.post(f"{path}/searches", {"name": "Convolutions", "query": query, "next": path})
    assert f'<a href="{path}?q=conv&amp;status=open">Convolutions</a>' in text(path)
    as_alice.post(f"/problems/searches/{SavedSearch.objects.get().pk}/delete", {"next": path})
    assert "Convolutions" not in text(path)


def test_searches_are_limited(as_alice, alice, triage):
    names = [f"search {number}" for number in range(MOST_SEARCHES)]
    SavedSearch.objects.bulk_create(SavedSearch(project=triage, user=alice, name=name, query="") for name in names)
    for name in ("one more", names[0]):
        as_alice.post(f"/projects/{triage.pk}/problems/searches", {"name": name, "query": "q=new"})
    assert SavedSearch.objects.count() == MOST_SEARCHES
    assert SavedSearch.objects.get(query="q=new").name == names[0], "one that is there may still be replaced"


def test_searches_are_ones_own(as_alice, bob, triage):
    mine = SavedSearch.objects.create(project=triage, user=bob, name="Bob's", query="q=x")
    assert "Bob&#x27;s" not in as_alice.get(f"/projects/{triage.pk}/problems").content.decode()
    assert as_alice.post(f"/problems/searches/{mine.pk}/delete").status_code == 404


def test_on_an_open_server_searches_are_everybodys(triage, open_mode):
    for _ in range(2):
        Client().post(f"/projects/{triage.pk}/problems/searches", {"name": "Ours", "query": "q=conv"})
    assert SavedSearch.objects.get().user is None


@pytest.mark.parametrize(("number", "kept"), [("5", 5), ("0", 0), ("51", 3), ("-1", 3), ("x", 3), ("", 3), ("٣", 3)])
def test_owner_says_when_problems_resolve_themselves(as_alice, project, number, kept):
    as_alice.post(f"/projects/{project.pk}/problems/settings", {"resolve_after": number})
    project.refresh_from_db()
    assert project.resolve_after == kept


def test_members_do_not(bob, project):
    client = Client()
    client.force_login(bob)
    client.post(f"/projects/{project.pk}/problems/settings", {"resolve_after": "7"})
    project.refresh_from_db()
    assert project.resolve_after == 3


GETS = ["/problems/{problem}", "/projects/{project}/problems"]
POSTS = [
    "/projects/{project}/problems/searches",
    "/projects/{project}/problems/settings",
    "/problems/actions",
    "/problems/searches/{search}/delete",
]


@pytest.fixture
def addresses(triage, alice):
    problem = the(triage, "fc*").pk
    search = SavedSearch.objects.create(project=triage, user=alice, name="x", query="")
    return {path: path.format(problem=problem, project=triage.pk, search=search.pk) for path in (*GETS, *POSTS)} | {
        "form": {"problem": problem, "action": "resolve", "name": "x"}
    }


@pytest.mark.parametrize("path", GETS)
def test_strangers_see_nothing(addresses, as_charlie, path):
    assert as_charlie.get(addresses[path]).status_code == 404


@pytest.mark.parametrize("path", POSTS)
def test_strangers_change_nothing(addresses, as_charlie, triage, path):
    assert as_charlie.post(addresses[path], addresses["form"]).status_code == 404
    assert the(triage, "fc*").standing == "new"
    assert SavedSearch.objects.count() == 1


def test_one_foreign_problem_stops_all(as_charlie, triage, charlies_project):
    tell(charlies_project, "W")
    chosen = [the(charlies_project, "fc*").pk, the(triage, "fc*").pk]
    assert as_charlie.post(BULK, {"problem": chosen, "action": "resolve"}).status_code == 404
    assert the(charlies_project, "fc*").standing == "new"


@pytest.mark.parametrize("path", [*GETS, "/problems"])
def test_members_and_open_servers_see_them(addresses, bob, path, settings):
    client = Client()
    assert client.get(addresses.get(path, path)).status_code == 302
    client.force_login(bob)
    assert client.get(addresses.get(path, path)).status_code == 200
    settings.MLDIAG_AUTH = "open"
    assert Client().get(addresses.get(path, path)).status_code == 200


def test_an_issue_links_to_its_problem(as_alice, project):
    session = make_session(project, 1)
    store_epochs(session, [epoch(number, loss, loss) for number, loss in enumerate([1.0, 0.5, 9.0])])
    mark_due(session)
    work(session.diagnostic_runs.get().pk)
    problem = Problem.objects.get(check_id="loss-explosion")
    page = as_alice.get(f"/sessions/{session.pk}").text
    assert f'href="/problems/{problem.pk}"' in page
    assert "In this project: new, in 1 session" in page
