"""The guide's five endpoints, section 8: what they answer, to the letter."""

from __future__ import annotations

from datetime import datetime

import pytest

from diagnostics import services
from diagnostics.engine import diagnose
from diagnostics.models import DiagnosticRun, State
from tests.diagnostics.conftest import explode

RUN_KEYS = [
    "id",
    "session_id",
    "created_at",
    "health_score",
    "issue_count",
    "arch_type",
    "summary_json",
    "issues",
    "epoch_trends",
    "session_level_issues",
    "layer_highlights",
    "sustainability",
]
ISSUE_KEYS = [
    "severity",
    "category",
    "title",
    "description",
    "epoch_index",
    "layer_id",
    "metric_key",
    "metric_value",
    "suggestion",
]
SUSTAINABILITY_KEYS = {
    "optimal_stop_epoch",
    "wasted_epochs",
    "wasted_compute_pct",
    "wasted_duration_seconds",
    "total_training_duration_seconds",
    "total_samples_processed",
    "dead_layers",
    "vanishing_gradient_layers",
    "frozen_output_layers",
    "redundant_layer_pairs",
    "parameter_efficiency_score",
    "total_co2_kg",
    "total_energy_kwh",
    "co2_per_epoch_avg_kg",
    "co2_per_1k_samples_kg",
    "avg_power_draw_watts",
    "wasted_co2_kg",
}


@pytest.fixture
def alices_api(alice, as_user):
    return as_user(alice)


@pytest.fixture
def bad_session(session):
    """Alice's session after its loss exploded, with a network of which one layer is too large."""
    explode(session)
    return session


@pytest.fixture
def judged(bad_session):
    """A finished diagnosis of it."""
    run = services.request_diagnosis(bad_session)
    services.work(run.pk)
    run.refresh_from_db()
    return run


def post_run(api, session, prefer="wait=0", **body):
    return api.post(f"/diagnostics/sessions/{session.pk}/run", body, format="json", headers={"Prefer": prefer})


def test_run_answers_as_the_guide_shows(transactional_db, work_at_once, alices_api, bad_session):
    answer = alices_api.post(f"/diagnostics/sessions/{bad_session.pk}/run")
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == RUN_KEYS
    assert body["session_id"] == bad_session.pk
    assert body["issue_count"] == len(body["issues"]) > 0
    assert datetime.fromisoformat(body["created_at"]).tzinfo
    assert body["arch_type"] == "cnn"
    assert 0 <= body["health_score"] <= 80


def test_finished_run_is_given_in_full(alices_api, judged):
    body = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()
    assert list(body) == RUN_KEYS
    assert set(body["sustainability"]) == SUSTAINABILITY_KEYS


def test_issue_has_the_guides_fields_first(alices_api, judged):
    issue = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()["issues"][0]
    assert list(issue)[: len(ISSUE_KEYS)] == ISSUE_KEYS
    assert (issue["severity"], issue["category"], issue["title"]) == ("critical", "loss", "Loss explosion")
    assert issue["evidence"]["series"] == ["loss.train_mean"]


def test_issue_carries_its_fix(alices_api, judged):
    issue = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()["issues"][0]
    assert issue["fix"].startswith("# ") and "clip_grad_norm_" in issue["fix"]


def test_stored_answer_is_the_engines_report(alices_api, bad_session, judged):
    body = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()
    report = diagnose(services.load_run(bad_session)).as_dict()
    assert {name: value for name, value in body.items() if name not in ("id", "session_id", "created_at")} == report


def test_breakdowns_count_the_issues(alices_api, judged):
    body = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()
    summary = body["summary_json"]
    assert list(summary["severity_breakdown"]) == ["critical", "warning", "info"]
    assert sum(summary["severity_breakdown"].values()) == sum(summary["category_breakdown"].values())
    assert sum(summary["severity_breakdown"].values()) == body["issue_count"]


def test_every_issue_is_in_a_trend_or_on_session_level(alices_api, judged):
    body = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()
    in_trends = {issue["title"] for trend in body["epoch_trends"] for issue in trend["issues"]}
    of_session = {issue["title"] for issue in body["session_level_issues"]}
    assert in_trends | of_session == {issue["title"] for issue in body["issues"]}
    assert in_trends
    assert of_session


def test_layer_highlights_name_the_layer_and_its_type(alices_api, judged):
    highlight, *_ = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()["layer_highlights"]
    assert list(highlight) == ["layer_id", "layer_type", "severity_score", "issues"]
    assert (highlight["layer_id"], highlight["layer_type"], highlight["severity_score"]) == ("fc1", "Linear", 7)


def test_suppressed_findings_are_not_reported(alices_api, judged):
    judged.issues.create(position=99, check_id="slow-epoch", severity="info", category="throughput", suppressed="noise")
    body = alices_api.get(f"/diagnostics/runs/{judged.pk}").json()
    assert body["issue_count"] == judged.issue_count


def test_nan_is_spelled_in_the_answer(alices_api, judged):
    judged.issues.update(metric_value="nan")
    assert alices_api.get(f"/diagnostics/runs/{judged.pk}").json()["issues"][0]["metric_value"] == "nan"


def test_session_without_epochs_has_no_score(alices_api, empty_session):
    run = services.diagnose_now(empty_session)
    body = alices_api.get(f"/diagnostics/runs/{run.pk}").json()
    assert body["health_score"] is None
    assert "No epoch" in body["summary_json"]["note"]


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        pytest.param("respond-async", "respond-async", id="at once"),
        pytest.param("wait=0", "wait=0", id="no patience"),
        pytest.param('respond-async, wait="0"', "respond-async, wait=0", id="both"),
        pytest.param("return=minimal, Respond-Async", "respond-async", id="among others"),
    ],
)
def test_unfinished_run_is_promised(alices_api, session, prefer, applied):
    answer = post_run(alices_api, session, prefer)
    run = DiagnosticRun.objects.get(trigger="requested")
    assert answer.status_code == 202
    assert answer.json() == {"id": run.pk, "state": "queued", "url": answer["Location"]}
    assert answer["Location"] == f"http://testserver/diagnostics/runs/{run.pk}"
    assert answer["Preference-Applied"] == applied


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "wait=nan", "handling=lenient", "=,;"])
def test_strange_preference_is_ignored(transactional_db, work_at_once, alices_api, session, prefer):
    answer = post_run(alices_api, session, prefer)
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer


def test_promised_run_tells_its_state_until_it_is_done(alices_api, session):
    promised = post_run(alices_api, session).json()
    assert alices_api.get(promised["url"]).status_code == 202
    services.work(promised["id"])
    assert alices_api.get(promised["url"]).status_code == 200


def test_failed_run_says_why(alices_api, session):
    DiagnosticRun.objects.filter(session=session).delete()
    run = DiagnosticRun.objects.create(session=session, state=State.FAILED, error="ValueError: no such threshold")
    answer = alices_api.get(f"/diagnostics/runs/{run.pk}")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "The diagnosis failed: ValueError: no such threshold"


def test_request_chooses_profile_and_thresholds(transactional_db, work_at_once, alices_api, bad_session):
    strict = {"profile": "guide", "thresholds": {"loss_explosion_ratio": 1e9}}
    body = post_run(alices_api, bad_session, "wait=5", **strict).json()
    assert body["summary_json"]["profile"] == "guide"
    assert "Loss explosion" not in [issue["title"] for issue in body["issues"]]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param({"profile": "harsh"}, "$.profile", id="unknown profile"),
        pytest.param({"thresholds": {"loss_explosion": 3}}, "$.thresholds.loss_explosion", id="unknown threshold"),
        pytest.param(
            {"thresholds": {"loss_explosion_ratio": "much"}}, "$.thresholds.loss_explosion_ratio", id="no number"
        ),
        pytest.param({"thresholds": {"loss_explosion_ratio": "nan"}}, "$.thresholds.loss_explosion_ratio", id="nan"),
        pytest.param({"thresholds": 3}, "$.thresholds", id="no object"),
        pytest.param({"threshold": {}}, "$.threshold", id="unknown setting"),
        pytest.param({"disable": ["loss-explosions"]}, "$.disable[0]", id="unknown check"),
        pytest.param({"severity": {"loss-explosion": "mild"}}, "$.severity.loss-explosion", id="unknown severity"),
        pytest.param({"baseline": "mnist"}, "$.baseline", id="unknown baseline"),
    ],
)
def test_bad_request_is_explained_and_orders_nothing(alices_api, session, body, path):
    answer = post_run(alices_api, session, **body)
    assert answer.status_code == 400
    assert answer.json()["path"] == path
    assert not DiagnosticRun.objects.filter(trigger="requested").exists()


def test_runs_of_a_session_are_listed_newest_first(alices_api, bad_session, judged):
    body = alices_api.get(f"/diagnostics/sessions/{bad_session.pk}").json()
    assert body["results"][0]["id"] == judged.pk
    assert body["results"][0]["summary_json"]["severity_breakdown"]["critical"] == 1
    assert "issues" not in body["results"][0]
    assert body["count"] == 2, "the requested and the automatic one"


def test_health_is_that_of_the_latest_run(alices_api, bad_session, judged):
    body = alices_api.get(f"/diagnostics/sessions/{bad_session.pk}/health").json()
    assert list(body) == ["session_id", "health_score", "severity_counts", "top_issues", "top_layers"]
    assert body["health_score"] == judged.health_score
    assert body["severity_counts"] == judged.summary["severity_breakdown"]
    assert body["top_issues"][0]["title"] == "Loss explosion"
    assert body["top_layers"][0]["layer_id"] == "fc1"


def test_health_is_judged_on_the_fly_when_there_is_no_run(alices_api, bad_session):
    DiagnosticRun.objects.all().delete()
    body = alices_api.get(f"/diagnostics/sessions/{bad_session.pk}/health").json()
    assert body["top_issues"][0]["title"] == "Loss explosion"
    assert not DiagnosticRun.objects.exists()


@pytest.mark.parametrize(
    ("project_fields", "said"),
    [
        ({"thresholds": {"nonsense": 1}}, "unknown threshold: nonsense"),
        ({"disabled_checks": 5}, "list of ids"),
        ({"disabled_checks": [[]]}, "must be a name"),
    ],
    ids=["an unknown threshold", "checks that are a number", "a check that is a list"],
)
def test_health_of_a_badly_set_project_is_refused_with_the_reason(alices_api, bad_session, project_fields, said):
    DiagnosticRun.objects.all().delete()
    type(bad_session.project).objects.update(**project_fields)
    answer = alices_api.get(f"/diagnostics/sessions/{bad_session.pk}/health")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_trend_goes_from_the_oldest_session_to_the_newest(alices_api, bad_session, judged, project):
    better = project.sessions.create(name="second try", health_score=95)
    body = alices_api.get(f"/diagnostics/projects/{project.pk}/trend").json()
    assert [point["session_id"] for point in body["sessions"]] == [bad_session.pk, better.pk]
    assert body["sessions"][1]["change"] == body["improvement"] == 95 - judged.health_score
    assert body["session_count"] == 2


def test_trend_of_an_empty_project_is_empty(alices_api, project):
    body = alices_api.get(f"/diagnostics/projects/{project.pk}/trend").json()
    assert (body["sessions"], body["improvement"], body["average_health_score"]) == ([], None, None)


def test_sessions_without_a_score_do_not_bend_the_trend(alices_api, project):
    for score in (70, None, 90):
        project.sessions.create(name="run", health_score=score)
    body = alices_api.get(f"/diagnostics/projects/{project.pk}/trend").json()
    assert [point["change"] for point in body["sessions"]] == [None, None, 20]
    assert body["average_health_score"] == 80


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        pytest.param("runs/{run}", 5, id="run"),
        pytest.param("sessions/{session}", 5, id="list"),
        pytest.param("sessions/{session}/health", 6, id="health"),
        pytest.param("projects/{project}/trend", 5, id="trend"),
    ],
)
def test_queries_do_not_grow_with_the_number_of_rows(
    alices_api, judged, project, path, queries, django_assert_max_num_queries
):
    for number in range(30):
        session = project.sessions.create(name=f"run {number}")
        DiagnosticRun.objects.create(session=judged.session)
        judged.issues.create(position=100 + number, severity="info", category="loss", layer_id=f"layer {session.pk}")
    url = path.format(run=judged.pk, session=judged.session_id, project=project.pk)
    with django_assert_max_num_queries(queries):
        assert alices_api.get(f"/diagnostics/{url}").status_code == 200
