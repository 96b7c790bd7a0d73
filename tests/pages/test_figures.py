from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from diagnostics.templatetags.figures import as_duration, as_energy, as_mass, band, figure, length_of, pairs, prose
from sessions.models import TrainSession


@pytest.mark.parametrize(
    ("score", "name"),
    [(100, "excellent"), (90, "excellent"), (89, "good"), (70, "good"), (69, "warning"), (50, "warning")]
    + [(49, "critical"), (0, "critical"), (None, "none")],
)
def test_bands_are_those_of_the_guide(score, name):
    assert band(score) == name


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        ("", "–"),
        (True, "yes"),
        (12345, "12,345"),
        (0.000123456, "0.0001235"),
        (2.0, "2"),
        (25088.4, "25,088"),
    ]
    + [(float("nan"), "NaN"), ("nan", "NaN"), ("-inf", "−∞"), (float("inf"), "∞"), ("Adam", "Adam"), ([1, 2], "1, 2")]
    + [(list(range(20)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (20 in all)"), ({"a": [1]}, '{"a": [1]}')]
    + [("x" * 300, "x" * 300), ("x" * 301, "x" * 300 + "…"), ({"a": "x" * 400}, '{"a": "' + "x" * 293 + "…")],
)
def test_writes_values(value, written):
    assert figure(value) == written


@pytest.mark.parametrize(
    ("span", "written"),
    [(None, "–"), (0.25, "250 ms"), (4.2, "4.2 s"), (754, "12 min 34 s"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")]
    + [(timedelta(minutes=3), "3 min"), ("nan", "NaN")],
)
def test_writes_time_spans(span, written):
    assert as_duration(span) == written


@pytest.mark.parametrize(("mass", "written"), [(0.0023, "2.3 g"), (0, "0 kg"), (12.5, "12.5 kg"), (2e-7, "200 µg")])
def test_writes_masses(mass, written):
    assert as_mass(mass) == written


def test_writes_energies():
    assert as_energy(0.012) == "12 Wh"


def test_a_key_called_items_is_found():
    assert pairs({"items": 1, "empty": None}) == [("items", 1)]


@pytest.mark.parametrize("absurd", [None, [], "text", 3])
def test_what_is_no_mapping_has_no_pairs(absurd):
    assert pairs(absurd) == []


def test_code_stands_out_and_markup_does_not():
    assert prose("use `<b>` & <i>") == "use <code>&lt;b&gt;</code> &amp; &lt;i&gt;"


def test_a_start_in_the_future_is_no_negative_length():
    session = TrainSession(started=now() + timedelta(minutes=4), last_seen=now())
    assert length_of(session) == timedelta(0)
