"""What to do first: causes before what follows from them."""

from __future__ import annotations

import pytest

from diagnostics.models import FoundIssue
from diagnostics.services import suggested_actions
from tests.pages.rows import EXPLOSION, FROZEN, MARKUP, SLOW, make_run, make_session

CLIP = 'clip_grad_norm_(model.parameters(), max_norm=1.0)  # "<b>" & more'


def issue(check_id, severity="warning", **fields):
    return FoundIssue(check_id=check_id, severity=severity, title=check_id, **fields)


def names(actions):
    return [action.issue.check_id for action in actions]


def test_symptoms_are_folded_under_their_cause():
    found = [issue("loss-explosion", "critical"), issue("not-learning", caused_by="loss-explosion"), issue("high-cpu")]
    actions = suggested_actions(found)
    assert names(actions) == ["loss-explosion", "high-cpu"]
    assert [symptom.check_id for symptom in actions[0].symptoms] == ["not-learning"]


def test_one_check_in_many_layers_is_one_action():
    actions = suggested_actions([issue("dead-neurons", layer_id=f"fc{number}") for number in range(4)])
    assert names(actions) == ["dead-neurons"]
    assert actions[0].layers == ["fc0", "fc1", "fc2", "fc3"]


@pytest.mark.parametrize("cause", ["loss-explosion", "not-learning"], ids=["unknown", "itself"])
def test_a_symptom_without_its_cause_stands_for_itself(cause):
    assert names(suggested_actions([issue("not-learning", caused_by=cause)])) == ["not-learning"]


def test_nothing_found_is_nothing_to_do():
    assert suggested_actions([]) == []


@pytest.fixture
def page(text, project):
    """``page(*issues)`` is the session page with these issues."""

    def of(*issues, **fields):
        session = make_session(project)
        make_run(session, *issues, **fields)
        return text(f"/sessions/{session.pk}")

    return of


def test_an_action_has_its_fix_to_copy(page):
    shown = page(EXPLOSION | {"fix": CLIP}).partition("Issues")[0]
    assert "clip_grad_norm_(model.parameters(), max_norm=1.0)  # &quot;&lt;b&gt;&quot; &amp; more" in shown.replace(
        "1.0) #", "1.0)  #"
    )
    assert 'class="quiet copy"' in shown


def test_without_a_fix_there_is_nothing_to_copy(page):
    assert "copy" not in page(EXPLOSION)


def test_says_what_shows_also(page):
    shown = page(EXPLOSION, FROZEN)
    assert "Shows also as" in shown
    assert "1 symptom" in shown


def test_information_alone_is_not_urgent(page):
    assert "Nothing urgent" in page(SLOW)


def test_no_issue_says_so(page):
    assert "Nothing to do" in page(score=100)


def test_a_symptom_is_folded_and_its_cause_is_not(page):
    shown = page(EXPLOSION, FROZEN)
    cards = [part.partition(">")[0] for part in shown.split('<details class="panel issue')[1:]]
    assert [card.rstrip().endswith("open") for card in cards] == [True, False]


def test_says_why_it_matters(page):
    assert "What it means" in page(EXPLOSION)


@pytest.mark.parametrize("check_id", ["of-an-older-engine"])
def test_an_issue_of_an_unknown_check_is_shown(page, check_id):
    shown = page(EXPLOSION | {"check_id": check_id})
    assert "<h4>Loss explosion</h4>" in shown
    assert "What it means" not in shown


def test_a_fix_full_of_markup_is_text(page):
    assert "<script>alert" not in page(EXPLOSION | {"fix": MARKUP, "layer_id": MARKUP})
