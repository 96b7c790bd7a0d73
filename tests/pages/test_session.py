from __future__ import annotations

import json
import re
from html import unescape

import pytest

from diagnostics.models import State, Trigger
from observer_client.record import Architecture, LayerInfo
from sessions.models import Model, SessionStatus
from sessions.services import register_model, store_epochs, store_logs
from tests.pages.rows import EXPLOSION, MARKUP, SLOW, epoch, line, make_run, make_session


@pytest.fixture
def page(text, bad_run):
    return text(f"/sessions/{bad_run.pk}")


@pytest.mark.parametrize(
    "shown",
    [
        "Health 71 of 100: good",
        "Good, but there are issues",
        "RuntimeError: loss is NaN",
        "<h4>Loss explosion</h4>",
        "from 0.6 to 9.1 between epochs 4 and 5",
        "<code>clip_grad_norm_(model.parameters(), 1.0)</code>",
        'href="/checks/loss-explosion"',
        "<dt>loss.train_mean, epoch 5</dt> <dd>9.1</dd>",
        "<dt>limit: loss explosion ratio</dt> <dd>2</dd>",
        "<code>fc1</code>",
        "3 times",
        'Probably a consequence of <a href="#issue-',
    ],
)
def test_shows_the_verdict_and_each_issue(page, shown):
    assert shown in page


@pytest.mark.parametrize(
    "shown",
    [
        "SmallCNN</code>, 21,952 parameters",
        "<dt>items</dt> <dd>kept</dd>",
        "<dd>2.8.0</dd>",
        "<dd>12 min 34 s</dd>",
        "<dd>12 Wh</dd>",
        "<dd>2.3 g</dd>",
        "3 epochs wasted",
        "loss is rising",
        "All 3 lines",
        "frozen",
    ],
)
def test_shows_what_was_observed(page, shown):
    assert shown in page


def test_shows_what_was_held_back_and_what_could_not_look(page):
    assert "The guide&#x27;s rule fired, not significant: the spread is that of every epoch" in page or (
        "The guide's rule fired, not significant: the spread is that of every epoch" in page
    )
    assert "needs profiler.pct_total" in page


def test_not_a_number_and_infinity_are_shown_as_sent(page):
    assert '<th scope="row">7</th> <td class="number">NaN</td>' in page
    assert '<th scope="row">6</th> <td class="number">∞</td>' in page


def test_a_severity_leaves_only_its_issues(text, bad_run):
    page = text(f"/sessions/{bad_run.pk}?severity=info")
    assert "<h4>Slow epoch</h4>" in page
    assert "<h4>Loss explosion</h4>" not in page


def test_htmx_gets_the_list_alone(text, bad_run):
    part = text(f"/sessions/{bad_run.pk}?severity=critical", **{"HX-Request": "true"})
    assert part.startswith('<section id="issues"')
    assert "<h4>Loss explosion</h4>" in part
    assert "<html" not in part


def test_going_back_gets_the_whole_page(text, bad_run):
    headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in text(f"/sessions/{bad_run.pk}", **headers)


def test_a_healthy_run_says_so(text, healthy_run):
    page = text(f"/sessions/{healthy_run.pk}")
    assert "Excellent!" in page
    assert "Nothing found." in page
    assert "17 checks looked at 10 epochs" in page


def test_a_session_that_just_began_has_no_dead_ends(text, project):
    session = make_session(project, status=SessionStatus.RUNNING, finished=None)
    page = text(f"/sessions/{session.pk}")
    for shown in ("Not diagnosed yet", "No epoch has arrived yet", "has not logged anything", "Not registered"):
        assert shown in page


def test_a_score_of_zero_is_no_missing_score(text, project):
    session = make_session(project)
    make_run(session, EXPLOSION, score=0)
    assert "Health 0 of 100: critical" in text(f"/sessions/{session.pk}")


@pytest.mark.parametrize(
    ("state", "said"),
    [(State.QUEUED, "Diagnosis queued"), (State.RUNNING, "Diagnosis running"), (State.FAILED, "KeyError: x")],
)
def test_says_how_far_the_diagnosis_is(text, project, state, said):
    session = make_session(project)
    fields = {"finished": session.started, "error": "KeyError: x"} if state == State.FAILED else {}
    make_run(session, state=state, **fields)
    assert said in text(f"/sessions/{session.pk}")


def test_keeps_the_verdict_while_the_next_is_made(text, bad_run):
    bad_run.diagnostic_runs.update(state=State.RUNNING)
    page = text(f"/sessions/{bad_run.pk}")
    assert "<h4>Loss explosion</h4>" in page
    assert "Diagnosis running" in page


def test_a_request_with_other_thresholds_does_not_become_the_verdict(text, bad_run):
    shown = bad_run.diagnosed
    make_run(bad_run, SLOW, score=98, trigger=Trigger.REQUESTED)
    type(bad_run).objects.filter(pk=bad_run.pk).update(diagnosed=shown)
    assert "Health 71 of 100" in text(f"/sessions/{bad_run.pk}")


def test_an_order_is_shown_until_it_is_done(as_alice, bad_run):
    part = as_alice.post(f"/sessions/{bad_run.pk}/diagnosis", headers={"HX-Request": "true"})
    ordered = bad_run.diagnostic_runs.get(trigger=Trigger.REQUESTED)
    address = f"/sessions/{bad_run.pk}/diagnosis/{ordered.pk}"
    assert f'hx-get="{address}"' in part.content.decode()
    assert "HX-Refresh" not in as_alice.get(address, headers={"HX-Request": "true"})
    bad_run.diagnostic_runs.filter(pk=ordered.pk).update(state=State.DONE)
    assert as_alice.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"


def test_an_order_without_javascript_leads_back(as_alice, bad_run):
    assert as_alice.post(f"/sessions/{bad_run.pk}/diagnosis")["Location"] == f"/sessions/{bad_run.pk}"


@pytest.mark.parametrize("unknown", ["x", "999999", "9" * 30])
def test_asking_for_an_unknown_order_is_404(as_alice, bad_run, unknown):
    response = as_alice.get(f"/sessions/{bad_run.pk}/diagnosis/{unknown}", headers={"HX-Request": "true"})
    assert response.status_code == 404


def test_a_run_has_a_page_of_its_own(text, bad_run):
    run = bad_run.diagnostic_runs.get()
    page = text(f"/runs/{run.pk}")
    assert "<h4>Loss explosion</h4>" in page
    assert "robust" in page


def test_markup_is_text_wherever_it_comes_from(text, project):
    session = make_session(project, MARKUP, reason=MARKUP, status=SessionStatus.CRASHED)
    session.hyperparameters = session.environment = {MARKUP: MARKUP}
    session.save()
    store_epochs(session, [epoch(1, 1.0, 1.0)])
    store_logs(session, [line(0, "INFO", MARKUP)])
    names = ("title", "description", "suggestion", "layer_id", "metric_key", "metric_value")
    make_run(session, EXPLOSION | dict.fromkeys(names, MARKUP) | {"evidence": {MARKUP: MARKUP}})
    page = text(f"/sessions/{session.pk}")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 12


def test_costs_the_same_for_small_and_for_large(as_alice, project, django_assert_num_queries):
    session = make_session(project)
    for number in (1, 60):
        store_epochs(session, [epoch(each, 1.0, 1.0) for each in range(number)])
        store_logs(session, [line(each, "INFO", "text") for each in range(number)])
        make_run(session, *[EXPLOSION] * number)
        # The login (2), the session, its verdict, epochs, issues, problems, diagnoses, latest epochs and log.
        with django_assert_num_queries(10):
            as_alice.get(f"/sessions/{session.pk}")
        # The columns are at hand now.
        for part, queries in (("", 9), ("/series", 4), ("/layers", 6)):
            with django_assert_num_queries(queries):
                as_alice.get(f"/sessions/{session.pk}{part}")


def test_very_many_issues_are_cut(text, project):
    session = make_session(project)
    make_run(session, *[EXPLOSION] * 230)
    assert "… and 30 more" in text(f"/sessions/{session.pk}")


def test_very_many_settings_are_cut(text, project):
    settings = {f"key{number}": "x" * 10_000 for number in range(1_000)}
    shown = make_session(project, hyperparameters=settings)
    page = text(f"/sessions/{shown.pk}")
    assert "and 800 more, all in the" in page and len(page) < 200_000


def test_the_mark_of_an_epoch_names_few_of_many_issues(text, project):
    shown = make_session(project)
    store_epochs(shown, [epoch(number, 0.5, 0.6) for number in range(1, 7)])
    make_run(shown, *[EXPLOSION | {"layer_id": f"fc{number}"} for number in range(50)])
    page = text(f"/sessions/{shown.pk}")
    assert "Loss explosion (fc7), and 42 more" in page and "Loss explosion (fc8)" not in page


def test_the_series_has_a_null_where_a_number_is_not_finite(as_alice, bad_run):
    series = as_alice.get(f"/sessions/{bad_run.pk}/series").json()
    assert series["epoch"] == [1, 2, 3, 4, 5, 6, 7]
    assert series["series"]["train loss"] == [2.3, 1.1, 0.7, 0.6, 9.1, None, None]
    assert series["non_finite"] == [6, 7]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("chart=nothing", "there are: loss"),
        ("chart=%00", "there are: loss"),
        ("x=inch", "x is one of epoch, step, time."),
        ("points=many", "are numbers"),
        ("low=a", "are numbers"),
    ],
)
def test_a_series_that_there_is_not_is_refused_with_a_sentence(as_alice, bad_run, query, said):
    answer = as_alice.get(f"/sessions/{bad_run.pk}/series?{query}")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("query", ["points=0", "points=-5", "points=1e99", "points=nan", "points=inf", "low=nan"])
def test_odd_bounds_of_a_series_make_no_trouble(as_alice, bad_run, query):
    assert as_alice.get(f"/sessions/{bad_run.pk}/series?{query}").status_code in (200, 400)


def test_a_part_of_the_series(as_alice, bad_run):
    assert as_alice.get(f"/sessions/{bad_run.pk}/series?low=2&high=4").json()["x"] == [2, 3, 4]


def test_new_epochs_are_shown_at_once(as_alice, project):
    session = make_session(project)
    for number in range(3):
        store_epochs(session, [epoch(number, 1.0, 1.0)])
        assert as_alice.get(f"/sessions/{session.pk}/series").json()["x"] == list(range(number + 1))


def test_the_query_chooses_the_chart(text, bad_run):
    page = text(f"/sessions/{bad_run.pk}?chart=learning-rate&log=1")
    assert 'aria-label="Learning rate over epochs 1 to 7' in page
    assert "logarithmic" in page


@pytest.mark.parametrize("query", ["chart=nothing&x=nowhere&log=maybe", "chart=%00", "x=step", "x=time"])
def test_an_odd_query_still_draws(text, bad_run, query):
    assert 'aria-label="Loss over' in text(f"/sessions/{bad_run.pk}?{query}")


def test_each_marker_leads_to_the_gravest_issue_of_its_epoch(text, bad_run):
    gravest = bad_run.diagnostic_runs.get().issues.get(check_id="loss-explosion")
    page = text(f"/sessions/{bad_run.pk}")
    assert f'<a href="#issue-{gravest.pk}" class="issue-critical"> <title>Epoch 5: Loss explosion</title>' in page


def test_shows_what_was_wasted(text, bad_run):
    store_epochs(bad_run, [epoch(8, 1.0, 1.0, carbon_emissions={"epoch_co2_kg": 0.002})])
    page = text(f"/sessions/{bad_run.pk}")
    assert "Cumulative CO₂ over epochs 1 to 8" in page
    assert "what came after epoch 5 was wasted" in page


def test_shows_where_the_time_went(text, project):
    session = make_session(project)
    profiler = {
        "forward_ms": 3.0,
        "per_layer": [{"name": "fc", "pct_total": 62.5}],
        "operation_categories": {"forward_pass": {"pct_cpu": 0.3}, "backward_pass": {"pct_cpu": 0.7}},
    }
    store_epochs(session, [epoch(1, 1.0, 1.0, profiler=profiler)])
    layers = {"fc": LayerInfo(type="Linear", parameters=21)}
    register_model(session, Architecture(total_parameters=21, layers=layers))
    page = text(f"/sessions/{session.pk}")
    assert page.index("backward pass") < page.index("forward pass")
    assert "70 %" in page
    assert "62.5 %" in page


def test_the_series_of_nothing_is_empty(as_alice, project):
    series = as_alice.get(f"/sessions/{make_session(project).pk}/series").json()
    assert (series["x"], series["series"]) == ([], {})


def test_whatever_is_offered_for_download_is_json(as_alice, text, bad_run):
    offered = re.findall(r'<a href="([^"]+)" download="[\w-]+\.json">', text(f"/sessions/{bad_run.pk}"))
    answers = [as_alice.get(unescape(address)) for address in offered]
    assert [answer.headers["Content-Type"].partition(";")[0] for answer in answers] == ["application/json"] * 4
    assert all(json.loads(answer.content) for answer in answers)


def test_sizes_of_layers_may_be_texts(text, project):
    session, layers = (
        make_session(project),
        {"small": {"parameters": "9"}, "big": {"parameters": "12"}, "odd": {"type": "?"}},
    )
    Model.objects.create(session=session, architecture={"layers": layers})
    page = text(f"/sessions/{session.pk}")
    for name, size in (("small", 9), ("big", 12), ("odd", 0)):
        assert f"<code>{name}</code>" in page
        assert f"</meter> {size} </td>" in page or size == 0
