"""The evidence of an issue, drawn: the series, where it fired, the level of the limit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from diagnostics.engine import Run, diagnose
from diagnostics.models import FoundIssue
from diagnostics.services import draw
from diagnostics.templatetags.curves import evidence
from sessions.services import store_epochs
from tests.pages.rows import HELD_BACK, epoch, make_run, make_session

RUNS = Path(__file__).parents[1] / "cli" / "runs"
LOSSES = [2.0, 1.0, 0.5, 6.0, 5.0]
EXPLODED = {"series": ["loss.train_mean"], "epochs": [3], "threshold": "loss_explosion_ratio", "limit": 2.0}


def a_run(losses=LOSSES, **fields):
    layers = {"fc": {"gradient_norm_mean": 1e-9}, "out": {"gradient_norm_mean": 0.1}}
    return Run.from_epochs(
        [
            {"epoch": at, "loss": {"train_mean": loss, "train_std": 0.1}, "layer_health": {"layers": layers}, **fields}
            for at, loss in enumerate(losses)
        ]
    )


def an_issue(evidence, **fields):
    return FoundIssue(check_id="x", title="X", evidence=evidence, **fields)


def test_draws_the_series_its_place_and_the_limit():
    found = draw(a_run(), an_issue(EXPLODED | {"before": 0.5}))
    assert found.plot.columns[0][1].tolist() == LOSSES
    assert found.marks.tolist() == [3]
    assert found.level == 1.0


@pytest.mark.parametrize(
    ("threshold", "figures", "level"),
    [
        ("memory_growth_pct", {"limit": 0.25, "first": 400.0}, 500.0),
        ("throughput_drop_pct", {"limit": 0.2, "peak": 1000.0}, 800.0),
        ("slow_epoch_ratio", {"limit": 1.5, "median": 2.0}, 3.0),
        ("high_cpu_percent", {"limit": 90.0}, 90.0),
        ("loss_explosion_ratio", {"limit": 2.0}, None),
        ("loss_explosion_ratio", {"limit": "2", "before": 1.0}, None),
        ("loss_explosion_ratio", {"limit": 2.0, "before": "nan"}, None),
        ("stuck_improvement_pct", {"limit": 0.05}, None),
    ],
    ids=["growth", "drop", "ratio", "as it is", "no base", "a text", "base is NaN", "no level of the series"],
)
def test_the_limit_is_in_the_units_of_the_series(threshold, figures, level):
    found = draw(a_run(), an_issue({"series": ["loss.train_mean"], "threshold": threshold} | figures))
    assert found.level == level


def test_a_layers_series_is_that_layers():
    proof = {"series": ["layers.gradient_norm_mean"], "epochs": [1, 2], "threshold": "t", "limit": 1e-7}
    found = draw(a_run(), an_issue(proof, layer_id="fc", metric_key="layers.gradient_norm_mean"))
    assert found.plot.columns[0][1].max() < 1e-8
    assert found.level == 1e-7


@pytest.mark.parametrize(
    "proof",
    [{}, {"series": []}, {"series": ["loss.val.nothing"]}, {"series": "text"}, {"series": ["steps.loss_mean", 3, None]}]
    + [{"series": ["layers.gradient_norm_mean"]}],
    ids=["nothing", "no series", "not logged", "a text", "no steps", "no layer"],
)
def test_without_a_series_there_is_no_drawing(proof):
    assert draw(a_run(), an_issue(proof)) is None


def test_what_has_another_unit_is_not_on_the_same_axis():
    found = draw(a_run(duration_seconds=900.0), an_issue({"series": ["loss.train_mean", "duration_seconds"]}))
    assert [label for label, _ in found.plot.columns] == ["loss.train_mean"]


def test_a_mark_at_a_nan_is_at_the_edge():
    found = draw(a_run([1.0, math.nan, 2.0]), an_issue(EXPLODED | {"epochs": [1]}))
    assert evidence(found)["dots"] == [("500.0", "0.00")]


def test_a_wide_range_is_drawn_on_a_logarithmic_scale():
    assert draw(a_run([1e-6, 1.0, 1.0]), an_issue(EXPLODED)).is_logarithmic
    assert not draw(a_run([-1e-6, 1.0, 1.0]), an_issue(EXPLODED)).is_logarithmic


def test_very_many_places_are_thinned():
    found = draw(a_run([1.0, 2.0] * 2_000), an_issue(EXPLODED | {"epochs": list(range(4_000))}))
    assert found.marks.size <= 60


def test_what_was_held_back_shows_why_with_its_series(text, project):
    session = make_session(project)
    store_epochs(session, [epoch(at, loss, loss) for at, loss in enumerate(LOSSES)])
    session.refresh_from_db()
    make_run(session, HELD_BACK | {"evidence": EXPLODED, "epoch_index": 3, "description": "It rose six times."})
    _, held = text(f"/sessions/{session.pk}").split("Held back as not significant")
    assert "It rose six times." in held
    assert 'class="hit"' in held.partition("</ul>")[0]


def test_very_many_that_were_held_back_are_drawn_in_part(text, project):
    session = make_session(project)
    store_epochs(session, [epoch(at, loss, loss) for at, loss in enumerate(LOSSES)])
    session.refresh_from_db()
    make_run(session, *[HELD_BACK | {"evidence": EXPLODED, "epoch_index": 3}] * 50)
    page = text(f"/sessions/{session.pk}")
    assert (page.count('class="held-back"'), page.count('class="evidence"')) == (50, 20)


@pytest.mark.parametrize("name", ["faulty", "nan", "healthy"])
def test_every_issue_of_a_real_run_that_names_a_series_is_drawn(name):
    data = json.loads((RUNS / f"digits_{name}.json").read_text())
    run = Run.from_epochs(data["epochs"], logs=[], architecture=data["architecture"])
    report = diagnose(run, profile="guide")
    for found in report.issues:
        as_row = an_issue(found.as_dict()["evidence"], epoch_index=found.epoch_index, layer_id=found.layer_id or "")
        assert (draw(run, as_row) is not None) == bool(found.evidence.get("series"))
