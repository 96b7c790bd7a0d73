from __future__ import annotations

import json

import pytest
import torch

from benchmarks.detection import anomaly_area, injections, judging, peers, running, tables, workloads
from benchmarks.detection.acceptance import SCENARIOS as ACCEPTANCE
from benchmarks.detection.faults import FAULTS
from benchmarks.detection.figures import Share, Summary
from benchmarks.detection.healthy import HEALTHY
from benchmarks.detection.judging import Verdict, can_detect, can_name, judge
from benchmarks.detection.running import ROUNDS, SCENARIOS, Job, jobs, train_all
from benchmarks.detection.scenario import Part
from diagnostics.engine import CHECKS, IssueCategory, IssueData, IssueSeverity, Run, diagnose

BLANK = diagnose(Run.from_epochs([]))
KINDS = {each.kind for each in (*HEALTHY, *FAULTS)}
LEAKING = "memory leak/digits-mlp"


def verdict(name, *issues, at_fault=()):
    """A verdict with the given issues, each written as ``"severity check layer"``."""
    found = []
    for severity, check, *layer in map(str.split, issues):
        found.append(
            IssueData(IssueSeverity(severity), IssueCategory.loss, check, check_id=check, layer_id="".join(layer))
        )
    blank = {field: getattr(BLANK, field) for field in BLANK.__slots__}
    report = type(BLANK)(**blank | {"issues": found, "summary": dict(BLANK.summary)})
    return Verdict(Job(Part.tuning, name, 0), "robust", report, frozenset(at_fault))


def test_has_the_kinds_it_promises():
    assert len({each.kind for each in HEALTHY}) >= 20
    assert len({each.kind for each in FAULTS}) >= 24


def test_every_kind_is_tuned_on_and_every_fault_held_out():
    parts = {kind: {each.part for each in SCENARIOS.values() if each.kind == kind} for kind in KINDS}
    assert all(Part.tuning in found for found in parts.values())
    assert all(Part.held_out in parts[each.kind] for each in FAULTS)


@pytest.mark.parametrize("number", ROUNDS, ids="round {}".format)
def test_each_round_of_acceptance_has_every_fault_and_many_healthy_kinds_that_nothing_was_tuned_on(number):
    wanted = [each for each in SCENARIOS.values() if each.part == Part.acceptance and each.round == number]
    assert {each.kind for each in wanted if not each.healthy} == {each.kind for each in FAULTS}
    assert len({each.kind for each in wanted if each.healthy}) >= 40


def test_the_rounds_of_a_part_share_no_workload():
    used = {(each.part, each.round, each.workload) for each in SCENARIOS.values()}
    assert len(used) == len({workload for _, _, workload in used})


def test_no_scenario_hides_another():
    assert len(SCENARIOS) == len((*HEALTHY, *FAULTS, *ACCEPTANCE))


@pytest.mark.parametrize("number", ROUNDS, ids="round {}".format)
def test_picks_one_round(number):
    picked = jobs([Part.acceptance], 1, "", [number])
    assert {job.scenario.round for job in picked} == {number}


def test_the_parts_share_no_seed():
    seeds = [{job.seed for job in jobs([part], 10)} for part in Part]
    assert sum(map(len, seeds)) == len(set().union(*seeds)) and set(running.FIRST_SEEDS) == set(Part)


def test_every_check_of_the_engine_that_is_expected_is_spelled_right():
    known = {name.replace("-", "") for name in CHECKS}
    expected = {name for each in FAULTS for name in each.names | each.signs}
    assert not {name for name in expected if name.replace("-", "") in known and name not in CHECKS}


@pytest.mark.parametrize(
    "workload", sorted({each.workload for each in SCENARIOS.values()}, key=lambda each: each.__name__)
)
def test_a_workload_is_the_same_for_the_same_seed(workload):
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        setup = workload(3)
        x, y = (each[:8] for each in setup.train.tensors)
        losses.append(setup.criterion(setup.model(x), y).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("issues", "detected", "named"),
    [
        pytest.param(["warning memory-growth"], True, True, id="named first"),
        pytest.param(["critical nan-in-loss", "warning memory-growth"], True, False, id="named, but not first"),
        pytest.param(["info memory-growth"], True, True, id="named as information"),
        pytest.param(["warning overfitting"], False, False, id="another fault named"),
        pytest.param(["info gpu-memory-pressure"], False, False, id="a symptom as information"),
        pytest.param(["warning gpu-memory-pressure"], True, False, id="a symptom as warning"),
        pytest.param([], False, False, id="nothing said"),
    ],
)
def test_what_counts_as_found(issues, detected, named):
    found = verdict(LEAKING, *issues)
    assert (found.detected, found.named) == (detected, named)


@pytest.mark.parametrize(
    ("issues", "right"),
    [
        pytest.param(["warning fc-dominates wide"], True, id="the layer at fault"),
        pytest.param(["warning fc-dominates head"], False, id="another layer"),
        pytest.param(["warning loss-plateau wide"], False, id="right layer for another reason"),
        pytest.param([], False, id="nothing said"),
    ],
)
def test_what_counts_as_the_right_layer(issues, right):
    found = verdict("oversized linear layer/digits-cnn", *issues, at_fault=["wide"])
    assert found.right_layer is right


def test_a_false_alarm_is_more_than_information():
    silent, loud = verdict("plain/digits-mlp", "info high-cpu"), verdict("plain/digits-mlp", "warning overfitting")
    summary = Summary.of([silent, loud])
    assert summary.healthy_alarmed == Share(1, 2)
    assert (summary.worst_check, summary.worst_check_share) == ("overfitting", Share(1, 2))


def scored(name, score):
    found = verdict(name)
    found.report.summary["anomaly"] = {"score": score}
    return found


@pytest.mark.parametrize(
    ("healthy", "faulty", "expected"),
    [([0.1, 0.3], [0.2, 0.9], 0.75), ([0.1], [0.1], 0.5), ([0.2], [None], 0.0), ([], [0.9], None)],
    ids=["one of four the wrong way", "tie", "never scored", "no healthy run"],
)
def test_area_of_the_anomaly_score(healthy, faulty, expected):
    runs = [scored("plain/digits-mlp", each) for each in healthy] + [scored(LEAKING, each) for each in faulty]
    assert anomaly_area.area(runs) == expected


def test_load_of_the_machine_is_shown_apart():
    summary = Summary.of([verdict("plain/digits-mlp", "warning throughput-degradation")])
    assert (summary.healthy_alarmed.hits, summary.healthy_alarmed_by_the_run.hits) == (1, 0)


def test_no_check_yet_is_not_missed(monkeypatch):
    leaking = SCENARIOS[Part.tuning, LEAKING]
    assert can_name(leaking) and can_detect(leaking)
    fewer = {name: found for name, found in CHECKS.items() if name not in ("memory-growth", "gpu-memory-pressure")}
    # The register itself keeps its order, which documents and reports follow.
    monkeypatch.setattr(judging, "CHECKS", fewer)
    assert not can_name(leaking) and not can_detect(leaking)
    assert "no check yet" in tables.fault_table([verdict(LEAKING)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of runs and the one run in it: three epochs of a network with an oversized layer."""
    folder = tmp_path_factory.mktemp("runs")
    (run,) = train_all(jobs([Part.tuning], 1, "oversized"), folder, 1)
    return folder, run


def test_a_run_is_trained_once(trained):
    folder, first = trained
    written = first.path.stat().st_mtime_ns
    (second,) = train_all(jobs([Part.tuning], 1, "oversized"), folder, 1)
    assert second == first and second.path.stat().st_mtime_ns == written


def test_a_run_carries_no_hint_of_its_fault(trained):
    assert "oversized" not in trained[1].path.read_text()


def test_a_run_is_judged_from_its_file(trained):
    run = trained[1]
    assert run.at_fault == {"wide"}
    assert judge(run, "robust").right_layer


def test_peers_are_told_every_step(trained):
    steps = list(peers.steps_of(json.loads(trained[1].path.read_bytes())))
    assert len(steps) == 3 * 21 and sum("val_loss" in step for step in steps) == 3
    assert {"loss", "grad_norm", "learning_rate", "step_time"} <= set(steps[0])


def test_a_changed_twist_is_trained_again():
    plain, other = (running._source_of(injections.slow_loader(0.5, seconds)) for seconds in (0.1, 0.2))
    assert plain != other
    assert plain == running._source_of(injections.slow_loader(0.5, 0.1))


def test_leaves_the_inputs_of_a_sound_workload_in_unit_scale():
    assert workloads.digits_mlp(0).train.tensors[0].abs().max() <= 1
