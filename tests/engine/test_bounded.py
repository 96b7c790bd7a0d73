from __future__ import annotations

from dataclasses import replace

import pytest

from diagnostics.engine import IssueCategory, IssueData, IssueSeverity, Run, diagnose
from diagnostics.engine.bounded import MOST_ISSUES, MOST_LAYERS, bounded
from tests.engine.tools import found

ISSUE = IssueData(IssueSeverity.warning, IssueCategory.sustainability, "Dead neurons", epoch_index=4)


def issues(count, **changes):
    return [replace(ISSUE, layer_id=f"layer{number}", **changes) for number in range(count)]


def run_of_broken(layers, **statistics):
    health = {"layers": {f"layer{number}": statistics for number in range(layers)}}
    return Run.from_epochs([{"epoch": epoch, "layer_health": health} for epoch in range(3)])


def test_as_many_as_may_be_stay_as_they_are():
    assert bounded(issues(MOST_ISSUES)) == issues(MOST_ISSUES)


def test_all_others_are_one():
    *listed, rest = bounded(issues(MOST_ISSUES + 5))
    assert listed == issues(MOST_ISSUES)
    assert (rest.layer_id, rest.count, rest.epoch_index) == (None, 5, 4)
    assert rest.description == "The same in 5 more layers: 'layer100', 'layer101', 'layer102' and others."


def test_the_gravest_is_listed():
    grave = replace(ISSUE, layer_id="grave", severity=IssueSeverity.critical)
    assert grave in bounded([*issues(MOST_ISSUES), grave])


def test_what_lasted_longest_is_listed():
    lasting = replace(ISSUE, layer_id="lasting", evidence={"epochs": [1, 2]})
    assert lasting in bounded([*issues(MOST_ISSUES, evidence={"epochs": [1]}), lasting])


def test_what_was_held_back_does_not_crowd_out_what_is_reported():
    reported = replace(ISSUE, layer_id="reported")
    assert reported in bounded([*issues(MOST_ISSUES + 1, suppressed="it did not last"), reported])


def test_what_belongs_to_no_layer_is_kept():
    without = [replace(ISSUE, epoch_index=epoch) for epoch in range(MOST_ISSUES + 1)]
    assert bounded(without) == without


@pytest.mark.parametrize("profile", ["guide", "robust"])
def test_thousands_of_broken_layers_make_a_report_of_bounded_length(profile):
    run = run_of_broken(MOST_LAYERS + 500, is_dead=True, weight_sparsity=0.99, has_frozen_output=True)
    report = diagnose(run, profile=profile)
    dead = [issue for issue in report.issues if issue.check_id == "dead-neurons"]
    assert len(dead) == MOST_ISSUES + 1
    assert dead[-1].description.startswith("The same in at least 900 more layers")
    assert report.health_score == 0


def test_the_one_layer_that_is_hit_to_the_end_is_among_those_looked_at():
    epochs = [{"epoch": epoch, "layer_health": {"layers": {}}} for epoch in range(3)]
    for number in range(MOST_LAYERS + 10):
        for epoch in epochs:
            lasts = number == MOST_LAYERS + 9 or epoch["epoch"] == 0
            epoch["layer_health"]["layers"][f"layer{number}"] = {"has_frozen_output": lasts}
    reported = found("frozen-output", Run.from_epochs(epochs))
    assert [issue.layer_id for issue in reported] == [f"layer{MOST_LAYERS + 9}"]
