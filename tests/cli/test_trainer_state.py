"""What a Hugging Face Trainer leaves behind. The figures of FINE_TUNED are those of a public run (DistilBERT, IMDb)."""

from __future__ import annotations

import json
import math

import pytest

from mldiag.cli.readers import read
from mldiag.cli.recorded import UnreadableRun

FINE_TUNED = [
    # epoch, step, loss, grad_norm, learning_rate
    (0.32, 40, 0.6425, 1.142, 1.79e-4),
    (0.64, 80, 0.5177, 3.477, 1.58e-4),
    (0.96, 120, 0.4132, 2.198, 1.37e-4),
    (1.28, 160, 0.4026, 1.049, 1.15e-4),
    (1.60, 200, 0.3684, 1.412, 9.39e-5),
    (1.92, 240, 0.3674, 1.548, 7.25e-5),
    (2.24, 280, 0.2980, 1.992, 5.12e-5),
    (2.56, 320, 0.2937, 1.473, 2.99e-5),
    (2.88, 360, 0.3490, 1.141, 8.53e-6),
]
EVALUATED = [(1.0, 125, 0.3951), (2.0, 250, 0.4155), (3.0, 375, 0.3892)]


def logged(epoch, step, loss, grad_norm, learning_rate):
    return {"epoch": epoch, "step": step, "loss": loss, "grad_norm": grad_norm, "learning_rate": learning_rate}


def state(training=FINE_TUNED, evaluations=EVALUATED, **more):
    history = [logged(*each) for each in training]
    history += [
        {"epoch": epoch, "step": step, "eval_loss": loss, "eval_runtime": 3.1} for epoch, step, loss in evaluations
    ]
    return {"log_history": sorted(history, key=lambda each: each["step"]), "num_train_epochs": 3, **more}


def imported(document):
    return read(json.dumps(document).encode())


def test_epochs_are_whole_ones():
    run = imported(state())
    assert [each.epoch for each in run.epochs] == [0, 1, 2]
    assert run.epochs[0].loss.train_mean == pytest.approx((0.6425 + 0.5177 + 0.4132) / 3)
    assert run.epochs[2].learning_rate == 8.53e-6


def test_evaluations_become_metrics_without_their_speed():
    assert imported(state()).epochs[1].loss.val == {"val_loss": 0.4155}


def test_steps_between_two_logs_are_one_bucket():
    steps = imported(state()).epochs[0].steps
    assert (steps.first, steps.count) == ([1, 41, 81], [40, 40, 40])
    assert steps.grad_norm_mean == [1.142, 3.477, 2.198]


def test_a_run_of_one_epoch_is_cut_at_its_evaluations():
    training = [(i / 50, i * 10, 2.0 / i, 1.0, 1e-4) for i in range(1, 46)]
    run = imported(state(training, [(0.2, 100, 0.5), (0.5, 250, 0.4), (0.9, 450, 0.3)]))
    assert [each.loss.val["val_loss"] for each in run.epochs] == [0.5, 0.4, 0.3]
    assert "between two evaluations" in run.notes[-1]


def test_a_history_without_epochs_is_cut_at_its_evaluations():
    document = state()
    for each in document["log_history"]:
        del each["epoch"]
    assert [each.epoch for each in imported(document).epochs] == [0, 1, 2]


@pytest.mark.parametrize("spelled", [float("nan"), "NaN", "nan"], ids=["token", "as Python says it", "as mldiag does"])
def test_a_loss_that_is_no_number_stays_so(spelled):
    run = imported(state([*FINE_TUNED[:8], (2.88, 360, spelled, 1.0, 1e-5)]))
    assert math.isnan(run.epochs[2].loss.train_mean)


def test_the_summary_at_the_end_is_no_epoch():
    document = state()
    document["log_history"].append({"epoch": 3.0, "step": 375, "train_loss": 0.42, "train_runtime": 61.0})
    assert len(imported(document).epochs) == 3


def test_entries_without_a_step_are_left_out_and_counted():
    document = state()
    document["log_history"].append({"loss": 0.1})
    assert "1 log entries name no step" in imported(document).notes


@pytest.mark.parametrize("history", [None, 3, "x", [1], {"loss": 1}], ids=repr)
def test_a_broken_history_is_refused(history):
    with pytest.raises(UnreadableRun, match="log_history"):
        imported({"log_history": history})


@pytest.mark.parametrize("entry", [{"step": "x"}, {"step": True}, {"loss": {}}, {}], ids=repr)
def test_a_history_that_measures_nothing_is_refused(entry):
    with pytest.raises(UnreadableRun):
        imported({"log_history": [entry]})


def test_a_healthy_fine_tuning_has_no_warning(cli, written):
    outcome = cli("check", written(state(), "trainer_state.json"))
    assert outcome.code == 0
    assert "Health 100/100" in outcome.text


def test_a_fine_tuning_that_blows_up_is_named(cli, written):
    training = [*FINE_TUNED[:4], (1.6, 200, 7.1, 210.0, 9e-5), (1.92, 240, 8.2, 3e4, 7e-5), *FINE_TUNED[8:]]
    assert "Loss explosion" in cli("check", written(state(training, []), "trainer_state.json")).text


def test_an_output_folder_is_judged_by_its_latest_checkpoint(cli, tmp_path):
    for step, training in ((9, FINE_TUNED[:3]), (10, FINE_TUNED)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps(state(training)))
        (folder / "config.json").write_text("{}")
    assert "checkpoint-10" in cli("check", tmp_path).out.replace("\n", "")
