from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from diagnostics import services
from diagnostics.models import DiagnosticRun, FoundIssue
from tests.diagnostics.conftest import explode

RUNS, ISSUES = "/admin/diagnostics/diagnosticrun/", "/admin/diagnostics/foundissue/"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="a long password for root"))
    return client


@pytest.fixture
def judged(session):
    explode(session)
    return services.diagnose_now(session)


@pytest.mark.parametrize(
    "query",
    ["", "?state=done", "?trigger__exact=requested", "?profile=robust", "?q=first", "?session__project__id__exact=1"],
)
def test_runs_are_listed_filtered_and_found(staff, judged, query):
    assert staff.get(f"{RUNS}{query}").status_code == 200


@pytest.mark.parametrize(
    "query", ["", "?severity=critical", "?category=loss", "?check_id=loss-explosion", "?q=explosion"]
)
def test_issues_are_listed_filtered_and_found(staff, judged, query):
    assert staff.get(f"{ISSUES}{query}").status_code == 200


def test_run_page_shows_the_answer_and_leads_to_the_issues(staff, judged):
    page = staff.get(f"{RUNS}{judged.pk}/change/").content.decode()
    assert f"{judged.issue_count} issues" in page
    assert "severity_breakdown" in page
    assert staff.get(f"{ISSUES}?run__id__exact={judged.pk}").status_code == 200


def test_evidence_is_shown_escaped_and_read_only(staff, judged):
    issue = judged.issues.first()
    FoundIssue.objects.filter(pk=issue.pk).update(evidence={"first": "<script>alert(1)</script>"})
    page = staff.get(f"{ISSUES}{issue.pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert 'name="title"' not in page


def test_action_orders_one_diagnosis_a_session(staff, judged):
    chosen = list(DiagnosticRun.objects.values_list("pk", flat=True))
    before = len(chosen)
    staff.post(RUNS, {"action": "diagnose_again", "_selected_action": chosen})
    assert DiagnosticRun.objects.count() == before + 1
    assert DiagnosticRun.objects.first().state == "queued"


@pytest.mark.parametrize("path", [RUNS, ISSUES])
def test_lists_cost_constant_queries(staff, judged, path, django_assert_max_num_queries):
    for number in range(40):
        session = judged.session.project.sessions.create(name=f"run {number}")
        run = DiagnosticRun.objects.create(session=session)
        run.issues.create(position=0, check_id="loss-plateau", severity="warning", category="loss", title="Flat")
    with django_assert_max_num_queries(14):
        assert staff.get(path).status_code == 200
