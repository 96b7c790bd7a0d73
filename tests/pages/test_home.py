from __future__ import annotations

import pytest
from django.test import Client
from django.utils.timezone import now

from diagnostics.models import Problem
from projects.models import DEFAULT_PROJECT_ID, Membership, Project
from sessions.models import SessionStatus, TrainSession
from tests.pages.rows import make_session, make_sessions


def test_names_the_project_its_score_and_its_sessions(text, project, bad_run):
    page = text("/")
    assert "Digits" in page
    assert "71 <small>good</small>" in page
    assert "1 session" in page


def test_draws_the_health_of_the_latest_sessions(text, project):
    make_sessions(project, 5)
    assert "Health of the latest 5 sessions: 72, 75," in text("/")


def test_counts_the_issues_of_the_latest_diagnosed_session(text, bad_run):
    assert '<span class="severity-critical" title="critical">1' in text("/")


def test_shows_what_is_running(text, project):
    make_session(project, "overnight", status=SessionStatus.RUNNING, finished=None)
    page = text("/")
    assert "Running now" in page
    assert "overnight" in page


def test_shows_no_running_section_when_nothing_runs(text, healthy_run):
    assert "Running now" not in text("/")


def test_a_silent_run_is_called_silent(text, project):
    make_session(project, "gone", status=SessionStatus.RUNNING, finished=None, expect_next_in=60.0)
    assert "status-lost" in text("/")


@pytest.mark.parametrize("read", [100, 11], ids=["all are read", "more run than are read"])
def test_many_that_run_do_not_hide_one_that_went_silent(text, project, monkeypatch, read):
    monkeypatch.setattr("sessions.views.RUNNING_READ", read)
    make_session(project, "gone", status=SessionStatus.RUNNING, finished=None, expect_next_in=60.0)
    for number in range(12):
        made = make_session(project, f"alive {number}", status=SessionStatus.RUNNING, finished=None)
        TrainSession.objects.filter(pk=made.pk).update(last_seen=now())
    alive, silent = text("/").partition("Running now")[2].split("<h2>Went silent</h2>")
    assert (alive.count("status-running"), f"and {min(read, 12) - 10} more" in alive) == (10, True)
    assert "gone" in silent
    assert "heard of 2 hours ago" in silent


@pytest.mark.parametrize("step", ["pip install mldiag-observer", "from observer_client import", "mldiag check"])
def test_the_first_run_says_what_to_type(text, project, step):
    assert step in text("/")


def test_the_first_run_is_over_after_a_session(text, healthy_run):
    assert "pip install" not in text("/")


def test_who_is_in_no_project_is_told_so(charlie, as_charlie):
    assert "not a member of any project" in as_charlie.get("/").content.decode()


def test_leaves_out_the_projects_of_others(text, project, charlies_project):
    assert "Cats" not in text("/")


def test_in_the_open_mode_everybody_sees_everything(open_mode, bad_run):
    page = Client().get("/").content.decode()
    assert "Digits" in page
    assert "Default project" in page


def test_costs_the_same_for_one_and_for_many(alice, as_alice, project, django_assert_max_num_queries):
    for name in range(8):
        other = Project.objects.create(name=f"Project {name}")
        Membership.objects.create(project=other, user=alice)
        make_sessions(other, 25)
    make_session(project, status=SessionStatus.RUNNING, finished=None)
    # The login's session and user, the projects and their number, their sessions and problems, what is running.
    with django_assert_max_num_queries(7):
        as_alice.get("/")


def test_where_keys_are_made_is_a_link(text, project):
    assert f'<a href="/projects/{DEFAULT_PROJECT_ID}/access">among its members and keys</a>' in text("/")


def test_counts_the_open_problems_of_a_project(text, project, healthy_run):
    for number, status in enumerate(["open", "open", "resolved"]):
        Problem.objects.create(
            project=project,
            fingerprint=str(number),
            check_id="nan-in-loss",
            title="NaN",
            category="loss",
            severity="critical",
            status=status,
            substatus="new" if status == "open" else "",
        )
    assert '<span class="severity-critical" title="critical">2' in text("/")


def test_an_archived_session_is_left_out(text, project, healthy_run):
    TrainSession.objects.update(archived=now())
    assert "98 <small>" not in text("/")
