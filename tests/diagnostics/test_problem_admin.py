"""Triage by staff."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from diagnostics import services
from diagnostics.models import DiagnosticRun, Problem
from tests.diagnostics.conftest import explode
from tests.diagnostics.triage import issue, judge, make_session, tell, the_problem

PROBLEMS, ISSUES = "/admin/diagnostics/problem/", "/admin/diagnostics/foundissue/"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="a long password for root"))
    return client


def choose(client, path, action, rows, **fields):
    return client.post(path, {"action": action, "_selected_action": [row.pk for row in rows], **fields}, follow=True)


@pytest.mark.parametrize(
    "query",
    ["", "?status=open", "?severity=warning", "?check_id=dead-neurons", "?q=fc", "?last_seen__year=2026", "?o=-6.4"],
)
def test_problems_are_listed_filtered_and_found(staff, project, query):
    tell(project, "W")
    page = staff.get(f"{PROBLEMS}{query}")
    assert page.status_code == 200
    assert "fc*" in page.content.decode()


@pytest.mark.parametrize(
    ("action", "standing"),
    [
        ("resolve", "resolved"),
        ("resolve_next", "resolved"),
        ("review", "ongoing"),
        ("reopen", "ongoing"),
        ("mute", "muted"),
        ("mute_sessions", "muted"),
    ],
)
def test_actions(staff, project, action, standing):
    tell(project, "W")
    choose(staff, PROBLEMS, action, [the_problem()], comment="From the admin.")
    assert the_problem().standing == standing
    assert [(each.by, each.text) for each in the_problem().activity.all()][0] == ("root", "From the admin.")


def test_assigning_and_to_nobody(staff, project, alice):
    tell(project, "W")
    choose(staff, PROBLEMS, "assign", [the_problem()], assignee=alice.pk)
    assert the_problem().assignee == alice
    choose(staff, PROBLEMS, "assign", [the_problem()], assignee="")
    assert the_problem().assignee is None


def test_what_cannot_be_done_is_said(staff, project, charlie):
    tell(project, "W")
    page = choose(staff, PROBLEMS, "assign", [the_problem()], assignee=charlie.pk).content.decode()
    assert "Charlie is not a member of the project." in page  # the admin begins messages with a capital
    assert "A comment has" in choose(staff, PROBLEMS, "comment", [the_problem()]).content.decode()


def test_merging(staff, project):
    judge(make_session(project, 0), issue(), issue(layer="conv"))
    choose(staff, PROBLEMS, "merge", Problem.objects.all())
    assert Problem.objects.unmerged().count() == 1


def test_taking_apart(staff, project):
    judge(make_session(project, 0), issue(), issue(layer="conv"))
    choose(staff, PROBLEMS, "merge", Problem.objects.all())
    page = choose(staff, PROBLEMS, "unmerge", Problem.objects.unmerged())
    assert "1 problem." in page.content.decode()
    assert Problem.objects.unmerged().count() == 2


def test_last_sessions_are_diagnosed_again(staff, project):
    tell(project, "WW")
    choose(staff, PROBLEMS, "diagnose_again", [the_problem()])
    assert DiagnosticRun.objects.filter(trigger="requested").count() == 1


def test_findings_resolve_their_problems(staff, session):
    explode(session)
    run = services.diagnose_now(session)
    found = run.issues.filter(check_id="loss-explosion")
    choose(staff, ISSUES, "resolve", found)
    assert Problem.objects.get(check_id="loss-explosion").standing == "resolved"
    page = staff.get(f"{ISSUES}{found.first().pk}/change/").content.decode()
    assert "Loss explosion: resolved" in page
    assert f'/sessions/{session.pk}#issue-{found.first().pk}"' in page


@pytest.mark.parametrize("query", ["?reported=yes", "?reported=no", "?run__created__year=2026"])
def test_findings_are_filtered(staff, session, query):
    explode(session)
    services.diagnose_now(session)
    assert staff.get(f"{ISSUES}{query}").status_code == 200


def test_problem_page_is_read_only_and_has_the_log(staff, project):
    tell(project, "W.W")
    page = staff.get(f"{PROBLEMS}{the_problem().pk}/change/").content.decode()
    assert "found it for the first time" in page
    assert 'href="/admin/r/' in page
    assert 'name="title"' not in page


def test_staff_who_may_only_look_have_no_actions(client, project, alice):
    alice.is_staff = True
    alice.save()
    alice.user_permissions.add(Permission.objects.get(codename="view_problem"))
    tell(project, "W")
    client.force_login(alice)
    choose(client, PROBLEMS, "resolve", [the_problem()])
    assert the_problem().standing == "new"


def test_list_costs_constant_queries(staff, project, django_assert_max_num_queries):
    judge(make_session(project, 0), *(issue(layer=chr(97 + letter)) for letter in range(26)))
    with django_assert_max_num_queries(16):
        assert staff.get(PROBLEMS).status_code == 200
