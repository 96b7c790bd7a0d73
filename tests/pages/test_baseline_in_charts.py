"""The baseline by which sessions are judged, drawn beside their curves."""

from __future__ import annotations

import pytest

from diagnostics.services.pinning import pin_baseline
from projects.services import declare_baseline
from sessions.services import store_epochs
from tests.pages.rows import epoch, make_run, make_session

LEVEL = {"name": "digits", "metric": "loss", "value": 0.5, "direction": "lower", "epochs": 3, "parameters": None}


def trained(project, name, losses, baseline=LEVEL):
    session = make_session(project, name)
    store_epochs(session, [epoch(number, loss, loss) for number, loss in enumerate(losses)])
    session.refresh_from_db()
    make_run(session, summary={"policy": {"baseline": baseline}})
    return session


@pytest.fixture
def shown(project):
    return trained(project, "now", [4.0, 2.0, 1.0])


@pytest.fixture
def usual(project):
    """A session that was pinned as the baseline."""
    made = trained(project, "the usual", [3.0, 2.0, 1.5, 1.0])
    pin_baseline(made, "digits", metric="loss")
    return made


@pytest.fixture
def references(as_alice):
    return lambda address: as_alice.get(address).json()["references"]


def of_session(session, query=""):
    return f"/sessions/{session.pk}/series?chart=loss{query}"


def of_two(*sessions, chart="loss.val.val_loss"):
    return f"/compare/series?chart={chart}&sessions={','.join(str(each.pk) for each in sessions)}"


def test_is_a_level(references, shown):
    assert references(of_session(shown)) == {"baseline digits": [0.5, 0.5, 0.5]}


def test_a_pinned_session_is_a_curve_as_far_as_the_axis_goes(references, usual, shown):
    assert references(of_session(shown))["digits: the usual"] == [3.0, 2.0, 1.5]


def test_a_shorter_one_ends_earlier(references, project, shown):
    pin_baseline(trained(project, "short", [3.0, 2.0]), "digits", metric="loss")
    assert references(of_session(shown))["digits: short"] == [3.0, 2.0, None]


def test_the_pinned_session_itself_has_the_level_alone(references, usual):
    assert list(references(of_session(usual))) == ["baseline digits"]


def test_without_the_pinned_session_the_level_stays(references, usual, shown):
    usual.delete()
    assert list(references(of_session(shown))) == ["baseline digits"]


def test_over_the_time_both_are_drawn(references, usual, shown):
    assert references(of_session(shown, "&x=time"))["digits: the usual"] == [3.0, 2.0, 1.5]


def test_the_level_is_in_every_part_that_is_asked_for(references, shown):
    assert references(of_session(shown, "&low=1")) == {"baseline digits": [0.5, 0.5]}


def test_is_drawn_in_the_comparison(references, usual, shown, project):
    other = trained(project, "other", [5.0, 4.0, 3.0])
    found = references(of_two(shown, other))
    assert found == {"baseline digits": [0.5] * 3, "digits: the usual": [3.0, 2.0, 1.5]}
    assert list(references(of_two(shown, usual))) == ["baseline digits"]


@pytest.mark.parametrize("source", ["session 999999: gone", "a paper", "session x: y", "session 9" * 9, ""])
def test_a_source_that_leads_nowhere_is_no_curve(references, project, shown, source):
    declare_baseline(project, "digits", {"metric": "loss", "value": 0.5, "source": source})
    assert list(references(of_session(shown))) == ["baseline digits"]


def test_a_source_in_another_project_is_no_curve(references, project, charlies_project, shown):
    theirs = trained(charlies_project, "secret", [9.0, 9.0, 9.0])
    declare_baseline(project, "digits", {"metric": "loss", "value": 0.5, "source": f"session {theirs.pk}: mine"})
    assert list(references(of_session(shown))) == ["baseline digits"]


@pytest.mark.parametrize("baseline", [None, {**LEVEL, "metric": "accuracy"}, {"nonsense": 1}, "digits"], ids=str)
def test_no_baseline_of_what_is_drawn_is_no_line(references, project, baseline):
    assert references(of_session(trained(project, "plain", [2.0, 1.0], baseline))) == {}


def test_another_metric_than_the_baselines_has_no_line(references, shown, usual):
    assert references(of_two(shown, usual, chart="loss.train_mean")) == {}


def test_pages_without_javascript_draw_it(text, usual, shown):
    for page in (text(f"/sessions/{shown.pk}"), text(f"/compare?sessions={shown.pk},{usual.pk}")):
        assert page.count('class="reference"') == page.count("key-reference") > 0
        assert "baseline digits" in page


def test_is_named_as_text(text, project, shown):
    pin_baseline(trained(project, "<img src=x>", [3.0]), "digits", metric="loss")
    assert "digits: &lt;img src=x&gt;" in text(f"/sessions/{shown.pk}")


def test_costs_three_queries_at_most(as_alice, project, shown, django_assert_max_num_queries):
    pin_baseline(trained(project, "pinned", [3.0] * 40), "digits", metric="loss")
    with django_assert_max_num_queries(9):
        as_alice.get(of_session(shown))
