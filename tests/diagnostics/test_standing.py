"""How a problem stands, told by sessions a day apart: ``W`` shows a warning, ``C`` a critical, ``.`` is clean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from diagnostics.problem_models import Status
from diagnostics.services.problems.standing import Look, Marks, standing

SEVERITIES = {"W": "warning", "C": "critical", "I": "info", ".": None}


def day(number):
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)


def looks(story):
    return [Look(day(number), SEVERITIES[letter], int(letter != ".")) for number, letter in enumerate(story)]


def stands(story, *, resolve_after=3, is_older=False, **marks):
    """The standing after a story; marks are numbers of days."""
    dated = {name: value if name == "muted_sessions" else day(value) for name, value in marks.items()}
    after = standing(Marks(**dated), looks(story), resolve_after=resolve_after, is_older=is_older)
    return str(after.substatus or after.status)


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("W", "new", id="first session"),
        pytest.param("WW", "new", id="second session"),
        pytest.param("WWW", "ongoing", id="known by the third"),
        pytest.param("W.", "new", id="one clean session proves nothing"),
        pytest.param("WWW..", "ongoing", id="neither do two"),
        pytest.param("WWW...", "resolved", id="three do"),
        pytest.param("W...W", "regressed", id="back after three"),
        pytest.param("W..W", "new", id="never gone"),
        pytest.param("W...WWW", "ongoing", id="back for good"),
        pytest.param("W...W...", "resolved", id="gone again"),
        pytest.param("", "resolved", id="no session shows it any more"),
        pytest.param("....", "resolved", id="withdrawn"),
    ],
)
def test_by_itself(story, expected):
    assert stands(story) == expected


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param("WWWC", "escalating", id="graver than ever"),
        pytest.param("WWWCWW", "escalating", id="not seen yet"),
        pytest.param("WWWCCCC", "ongoing", id="known as such"),
        pytest.param("CWWC", "ongoing", id="has been as grave"),
        pytest.param("CCCW", "ongoing", id="milder"),
        pytest.param("W........W.WWW.WWW.", "escalating", id="in most of the latest ten"),
        pytest.param("WWWWWWWWWWWWWWWWWWWW", "ongoing", id="has been in most before"),
        pytest.param("W..W..W..W..W..W..W.", "ongoing", id="as often as ever"),
    ],
)
def test_escalation(story, expected):
    assert stands(story, resolve_after=0) == expected


@pytest.mark.parametrize(("layers", "expected"), [(2, "ongoing"), (3, "escalating"), (0, "ongoing")])
def test_three_times_the_layers_are_worse(layers, expected):
    history = [Look(day(number), "warning", 1) for number in range(3)] + [Look(day(3), "warning", layers)]
    assert standing(Marks(), history, resolve_after=3).substatus == expected


def test_without_layers_more_of_them_is_no_news():
    history = [Look(day(number), "warning", 0) for number in range(4)]
    assert standing(Marks(), history, resolve_after=3).substatus == "ongoing"


@pytest.mark.parametrize(
    ("story", "marks", "expected"),
    [
        pytest.param("W", {"fixed_after": 0}, "resolved", id="resolved"),
        pytest.param("W..", {"fixed_after": 0}, "resolved", id="clean since"),
        pytest.param("WW", {"fixed_after": 0}, "regressed", id="a later session shows it"),
        pytest.param("WW", {"fixed_after": 1}, "resolved", id="the session had started before"),
        pytest.param("WWWW", {"fixed_after": 0}, "ongoing", id="back in three sessions"),
        pytest.param("WW", {"fixed_after": 0, "reviewed": 1}, "ongoing", id="back, and somebody looked"),
        pytest.param("W...", {"reopened": 4}, "new", id="opened again"),
        pytest.param("W......", {"reopened": 3}, "resolved", id="opened again, then clean"),
        pytest.param("W", {"reviewed": 0}, "ongoing", id="looked at"),
        pytest.param("WWWC", {"reviewed": 3}, "ongoing", id="worse, and somebody looked"),
        pytest.param("WWWC", {"reviewed": 2}, "escalating", id="worse since somebody looked"),
    ],
)
def test_what_people_say(story, marks, expected):
    assert stands(story, **marks) == expected


@pytest.mark.parametrize(
    ("story", "marks", "expected"),
    [
        pytest.param("WWW", {"muted_after": 0}, "muted", id="for good"),
        pytest.param("W....", {"muted_after": 0}, "muted", id="clean meanwhile"),
        pytest.param("WWW", {"muted_after": 0, "muted_until": 2}, "muted", id="until a date"),
        pytest.param("WWWW", {"muted_after": 0, "muted_until": 2}, "regressed", id="after the date"),
        pytest.param("WWW.", {"muted_after": 0, "muted_until": 2}, "muted", id="after the date it did not happen"),
        pytest.param("WWW", {"muted_after": 0, "muted_sessions": 2}, "muted", id="for two sessions"),
        pytest.param("WWWW", {"muted_after": 0, "muted_sessions": 2}, "regressed", id="in the third"),
        pytest.param("W..W", {"muted_after": 0, "muted_sessions": 2}, "regressed", id="clean ones count"),
        pytest.param("WWWWWW", {"muted_after": 0, "muted_sessions": 2}, "ongoing", id="long after"),
        pytest.param("WWWW...", {"muted_after": 0, "muted_sessions": 2}, "resolved", id="gone after the mute"),
    ],
)
def test_mute(story, marks, expected):
    assert stands(story, **marks) == expected


@pytest.mark.parametrize(
    ("story", "expected"),
    [("...", "resolved"), ("..", "ongoing"), ("...W", "regressed"), ("W", "ongoing"), ("", "ongoing")],
)
def test_sessions_before_the_latest_count(story, expected):
    assert stands(story, is_older=True) == expected


def test_zero_never_resolves():
    assert stands("W........", resolve_after=0) == "new"


def test_tells_who_resolved_it():
    assert standing(Marks(), looks("W..."), resolve_after=3).by_itself
    resolved = standing(Marks(fixed_after=day(0)), looks("W.."), resolve_after=3)
    assert resolved.status == Status.RESOLVED
    assert not resolved.by_itself
