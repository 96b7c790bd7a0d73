"""The map of layers: order, shades, parts, and its page."""

from __future__ import annotations

import math

import pytest

from diagnostics.engine import Run
from diagnostics.services import heat
from diagnostics.templatetags.curves import strip
from sessions.services import store_epochs
from tests.pages.rows import FROZEN, MARKUP, epoch, make_run, make_session

NORMAL = [0.1, 0.1, 0.1, 0.1]
LAYERS = {
    "calm": NORMAL,
    "steady": NORMAL,
    "even": NORMAL,
    "vanishing": [0.1, 1e-4, 1e-7, 1e-9],
    "broken": [0.1, 0.1, math.nan, math.nan],
}


def a_run(layers=LAYERS, statistic="gradient_norm_mean"):
    length = len(next(iter(layers.values()), []))
    return Run.from_epochs(
        [
            {"epoch": at, "layer_health": {"layers": {name: {statistic: of[at]} for name, of in layers.items()}}}
            for at in range(length)
        ]
    )


def order(found):
    return [row.layer for row in found.strips]


def test_the_worst_layers_come_first():
    assert order(heat(a_run()))[:2] == ["broken", "vanishing"]


def test_layers_with_an_issue_come_before_all():
    assert order(heat(a_run(), suspects={"even"}))[:2] == ["even", "broken"]


@pytest.mark.parametrize(
    ("statistic", "worst"), [("weight_sparsity", "high"), ("activation_variance", "low"), ("update_ratio", "low")]
)
def test_what_is_worst_depends_on_the_metric(statistic, worst):
    layers = {"a": [0.5, 0.5], "low": [1e-6, 1e-6], "b": [0.5, 0.5], "high": [0.9, 0.9], "c": [0.5, 0.5]}
    assert order(heat(a_run(layers, statistic)))[0] == worst


def test_shows_figures_and_the_first_nan():
    row = heat(a_run()).strips[0]
    assert (row.first, row.last, row.broken_from) == (pytest.approx(0.1), pytest.approx(0.1), 2)
    assert row.shades[2:] == ["broken", "broken"]


def test_a_smaller_value_has_no_darker_shade():
    shades = heat(a_run()).strips[1].shades
    assert shades == sorted(shades, reverse=True)
    assert shades[0] != shades[-1]


def test_finds_layers_by_name_and_cuts():
    layers = {f"block.{number}.{kind}": NORMAL for number in range(100) for kind in ("conv", "norm")}
    found = heat(a_run(layers), text="CONV", part=slice(25, 50))
    assert (found.layer_count, found.found_count, len(found.strips)) == (200, 100, 25)


def test_many_epochs_share_a_column_that_keeps_the_worst():
    values = [0.1] * 10_000
    values[5_555] = 1e-12
    found = heat(a_run({"a": [0.1] * 10_000, "b": values, "c": [0.1] * 10_000}))
    row = next(row for row in found.strips if row.layer == "b")
    assert len(row.values) <= 120
    assert min(row.values) == pytest.approx(1e-12)


@pytest.mark.parametrize(
    "run", [Run.from_epochs([]), Run.from_epochs([{"epoch": 1}]), a_run({"a": [None, None]})], ids=["0", "1", "none"]
)
def test_without_statistics_there_is_no_map(run):
    assert heat(run) is None


@pytest.mark.parametrize("values", [[0.0, 0.0], [math.inf, math.nan], [-1.0, 1e38], [0.1, None]])
def test_absurd_values_make_no_trouble(values):
    found = heat(a_run({"odd": values, "other": [0.1, 0.1]}))
    assert {row.layer for row in found.strips} == {"odd", "other"}


def test_an_unknown_metric_gives_the_first():
    assert heat(a_run(), "no such").metric.key == "gradient_norm_mean"


def test_equal_cells_are_one_stroke():
    drawn = strip(heat(a_run()).strips[-1], [0, 1, 2, 3])
    assert [path for _, path in drawn["paths"]] == ["M0 .5h4"]


@pytest.fixture
def session(project):
    made = make_session(project)
    names = [MARKUP, *(f"block.{number}" for number in range(40))]
    layers = {name: {"gradient_norm_mean": 0.1, "weight_sparsity": 0.2} for name in names}
    store_epochs(made, [epoch(number, 1.0, 1.0, layer_health={"layers": layers}) for number in range(3)])
    made.refresh_from_db()
    return made


def test_the_page_has_a_table_of_layers(text, session):
    page = text(f"/sessions/{session.pk}")
    assert page.count('class="strip"') == 25
    assert "1–25 of 41, worst first" in page
    assert "page=2" in page


def test_htmx_gets_the_map_alone(text, session):
    part = text(f"/sessions/{session.pk}/layers?metric=weight_sparsity&page=2", **{"HX-Request": "true"})
    assert part.startswith('<section class="panel" id="layers"')
    assert "Sparsity, epochs 0 to 2" in part
    assert part.count('class="strip"') == 16


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=99999999", "page=-1", "metric=%00", "layer=nothing"])
def test_odd_questions_get_an_answer(text, session, query):
    assert 'id="layers"' in text(f"/sessions/{session.pk}/layers?{query}")


def test_a_layer_with_an_issue_leads_to_it(text, session):
    run = make_run(session, FROZEN | {"layer_id": "block.7"})
    session.refresh_from_db()
    page = text(f"/sessions/{session.pk}/layers")
    assert f'href="/sessions/{session.pk}#issue-{run.issues.get().pk}"' in page


def test_a_thousand_layers_are_a_page_of_some_and_the_way_to_the_rest(text, project):
    made = make_session(project)
    layers = {f"blocks.{at}.conv": {"gradient_norm_mean": 1.0 + at} for at in range(1_000)}
    store_epochs(made, [epoch(number, 1.0, 1.0, layer_health={"layers": layers}) for number in range(3)])
    made.refresh_from_db()
    page = text(f"/sessions/{made.pk}/layers")
    assert page.count('class="strip"') == 25
    assert "1–25 of 1,000, worst first" in page
    assert "blocks.999.conv" in text(f"/sessions/{made.pk}/layers?layer=999")


def test_names_of_layers_are_text(text, session):
    assert "<script>alert" not in text(f"/sessions/{session.pk}/layers?layer=script&metric=weight_sparsity")
