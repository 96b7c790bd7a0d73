"""What becomes of problems while sessions are diagnosed."""

from __future__ import annotations

import pytest

from diagnostics import services
from diagnostics.models import FoundIssue
from diagnostics.problem_models import Activity, Occurrence, Problem
from diagnostics.services import problems
from diagnostics.services.problems import Person, problems_of, rates, updating
from observer_client.record import Ending
from sessions.models import SessionStatus
from sessions.services import finish
from tests.diagnostics.conftest import explode
from tests.diagnostics.triage import CHECK, FIRST_DAY, issue, judge, make_session, tell, the_problem

ALICE = Person(None, "alice")


def acts(problem):
    return [str(act) for act in problem.activity.order_by("pk").values_list("act", flat=True)]


@pytest.mark.parametrize(
    ("story", "standing"),
    [
        pytest.param("W", "new", id="new"),
        pytest.param("WWW", "ongoing", id="ongoing"),
        pytest.param("WWWC", "escalating", id="escalating"),
        pytest.param("W...", "resolved", id="resolved after three clean sessions"),
        pytest.param("W..-", "new", id="a session whose check did not run is not clean"),
        pytest.param("W..-.", "resolved", id="it does not break the row either"),
        pytest.param("W...W", "regressed", id="regressed"),
        pytest.param("W---W", "new", id="nobody looked meanwhile"),
    ],
)
def test_follows_the_sessions(project, story, standing):
    tell(project, story)
    assert the_problem().standing == standing


@pytest.mark.parametrize(("number", "standing"), [(1, "resolved"), (4, "new"), (0, "new")])
def test_project_says_how_many_clean_sessions_resolve(project, number, standing):
    project.resolve_after = number
    project.save()
    tell(project, "W...")
    assert the_problem().standing == standing


def test_keeps_first_and_last_session(project):
    first, _, last, _ = tell(project, "W.C.")
    problem = the_problem()
    assert (problem.first_session, problem.last_session, problem.session_count) == (first, last, 2)
    assert (problem.severity, problem.first_seen) == ("critical", FIRST_DAY)


def test_layers_of_one_pattern_are_one_problem(project):
    judge(make_session(project, 0), issue(layer="layer1.0.conv1"), issue(layer="layer2.1.conv1"))
    assert the_problem().layer_pattern == "layer*.*.conv*"
    assert Occurrence.objects.get().layers == ["layer1.0.conv1", "layer2.1.conv1"]


def test_projects_do_not_share_problems(project, charlies_project):
    tell(project, "W")
    tell(charlies_project, "W")
    assert Problem.objects.count() == 2


def test_suppressed_findings_make_no_problem(project):
    judge(make_session(project, 0), issue(suppressed="noise"))
    assert not Problem.objects.exists()


def test_diagnosing_again_counts_once(project):
    (session,) = tell(project, "W")
    for _ in range(3):
        judge(session, issue())
    assert the_problem().session_count == 1
    assert acts(the_problem()) == ["found"]


def test_what_a_later_look_does_not_confirm_is_withdrawn(project):
    session = judge(make_session(project, 0, SessionStatus.RUNNING), issue())
    judge(session)
    assert the_problem().standing == "resolved"
    judge(session, issue())
    assert the_problem().standing == "new"
    assert acts(the_problem()) == ["found", "withdrawn", "found"]


@pytest.mark.parametrize("status", [SessionStatus.RUNNING, SessionStatus.CRASHED, SessionStatus.KILLED])
def test_a_session_that_did_not_end_well_is_not_clean(project, status):
    tell(project, "W")
    for day in range(1, 5):
        judge(make_session(project, day, status))
    assert the_problem().standing == "new"


def test_a_session_is_clean_when_it_ends(project):
    tell(project, "W..")
    session = judge(make_session(project, 3, SessionStatus.RUNNING))
    assert the_problem().standing == "new"
    session.status = SessionStatus.FINISHED
    judge(session)
    assert the_problem().standing == "resolved"


def test_a_session_from_before_the_fix_that_arrives_late_is_no_regression(project):
    tell(project, "W", first=5)
    problems.resolve(Problem.objects.all(), ALICE)
    tell(project, "C", first=2)
    assert (the_problem().standing, the_problem().session_count) == ("resolved", 2)
    assert the_problem().severity == "warning"


def test_a_session_after_the_fix_is_a_regression(project):
    tell(project, "W")
    problems.resolve(Problem.objects.all(), ALICE)
    tell(project, "W", first=1)
    assert the_problem().standing == "regressed"
    assert acts(the_problem()) == ["found", "resolved", "regressed"]


def test_the_running_session_shows_what_was_resolved_and_that_is_known(project):
    session = judge(make_session(project, 0, SessionStatus.RUNNING), issue())
    problems.resolve(Problem.objects.all(), ALICE)
    judge(session, issue(), issue(layer="fc2"))
    assert the_problem().standing == "resolved"


def test_a_live_look_that_finds_the_same_costs_three_queries(project, django_assert_num_queries):
    session = judge(make_session(project, 0, SessionStatus.RUNNING), issue(), issue(layer="conv"))
    with django_assert_num_queries(3 + 2):  # and the savepoint of the test's own transaction
        judge(session, issue(), issue(layer="conv"))


def test_many_problems_cost_as_many_queries_as_one(project, django_assert_max_num_queries):
    with django_assert_max_num_queries(24):
        judge(make_session(project, 0), *(issue(layer=chr(97 + letter) * 3) for letter in range(26)))
    assert Problem.objects.count() == 26


def test_a_real_diagnosis_makes_problems(session):
    explode(session)
    services.diagnose_now(session)
    assert set(Problem.objects.values_list("check_id", flat=True)) >= {"loss-explosion"}
    services.diagnose_now(session)
    assert Occurrence.objects.count() == Problem.objects.count()


def test_an_experiment_makes_none(session):
    explode(session)
    services.work(services.request_diagnosis(session, thresholds={"loss_explosion_ratio": 3.0}).pk)
    assert not Problem.objects.exists()


def test_a_failed_store_leaves_no_problem_behind(session, monkeypatch):
    monkeypatch.setattr("diagnostics.services.judging.note_findings", lambda *_: 1 / 0)
    explode(session)
    run = services.diagnose_now(session)
    assert "ZeroDivisionError" in run.error
    assert not run.issues.exists()


def test_issues_lead_to_their_problems(session, django_assert_num_queries):
    explode(session)
    run = services.diagnose_now(session)
    found = list(FoundIssue.objects.filter(run=run))
    with django_assert_num_queries(1):
        linked = problems_of(found)
    reported = {each.pk: each.check_id for each in found if not each.suppressed}
    assert {pk: problem.check_id for pk, problem in linked.items()} == reported
    assert problems_of([]) == {}


def test_a_problem_leads_to_its_latest_issue(session):
    explode(session)
    services.diagnose_now(finish(session, Ending(status="finished")))
    problem = Problem.objects.get(check_id="loss-explosion")
    assert problems.latest_issue(problem).check_id == "loss-explosion"


@pytest.mark.parametrize(
    ("story", "rate"),
    [("W", (1, 1)), ("WW..W", (3, 5)), ("W-W-.", (2, 3)), ("W" * 5 + "." * 10, (0, 10)), ("." * 20 + "W", (1, 10))],
    ids=["one", "three of five", "not looked", "not lately", "lately"],
)
def test_tells_in_how_many_of_the_latest_sessions(project, story, rate):
    tell(project, story)
    found = rates([the_problem()])[the_problem().pk]
    assert (found.shown, found.looked) == rate


def test_rates_of_many_projects_cost_three_queries(project, charlies_project, django_assert_num_queries):
    tell(project, "W" * 12)
    tell(charlies_project, "W.")
    chosen = list(Problem.objects.all())
    with django_assert_num_queries(3):
        found = rates(chosen)
    assert sorted((each.shown, each.looked) for each in found.values()) == [(1, 2), (10, 10)]


def test_a_check_that_is_unknown_now_keeps_its_problem(project):
    judge(make_session(project, 0), issue(check_id="check-of-another-version"))
    assert the_problem().check_id == "check-of-another-version"
    assert CHECK not in acts(the_problem())


def test_activity_tells_who(project):
    tell(project, "W")
    problems.comment(Problem.objects.all(), ALICE, "Known.")
    assert [str(each) for each in Activity.objects.order_by("pk")] == [
        "mldiag found it for the first time",
        "alice commented",
    ]


def test_what_is_merged_while_a_diagnosis_waits_leaves_nothing_behind(project, monkeypatch):
    session = judge(make_session(project, 0), issue(layer="fc1"), issue(layer="conv1"))
    target, other = Problem.objects.order_by("pk")
    lock = updating.lock

    def merged_first(projects):
        problems.merge(target, [other], ALICE)
        return lock(projects)

    monkeypatch.setattr(updating, "lock", merged_first)
    judge(session)
    assert not Occurrence.objects.exists()
    assert Problem.objects.unmerged().get().session_count == 0
