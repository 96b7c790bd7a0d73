"""Comparison with a baseline (guide 11.7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnostics.engine import BASELINES, Baseline, InvalidSetting, Policy, Run, diagnose
from diagnostics.engine.baseline import task_name
from tests.engine.tools import BOTH, epochs_with, found, held_back, run_with

MNIST = BASELINES["mnist_cnn"]
ERROR = Baseline(name="words", metric="wer", value=0.2, epochs=3)


def compared(baseline, **columns):
    return replace(run_with(**columns), baseline=baseline)


def metric_run(name, values, baseline):
    epochs = [{"epoch": number, "loss": {"val": {name: value}}} for number, value in enumerate(values)]
    return replace(Run.from_epochs(epochs), baseline=baseline)


def test_the_guide_s_tasks():
    assert (MNIST.metric, MNIST.value, MNIST.epochs, MNIST.parameters) == ("accuracy", 0.99, 10, 500_000)
    cifar = BASELINES["cifar10_resnet"]
    assert (cifar.metric, cifar.value, cifar.epochs, cifar.parameters) == ("accuracy", 0.93, 100, 11_000_000)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("scale", [1, 100], ids=["share", "percent"])
@pytest.mark.parametrize(("last", "count"), [(0.88, 1), (0.892, 0), (0.99, 0)])
def test_an_accuracy_below_nine_tenths_is_below(profile, scale, last, count):
    run = compared(MNIST, accuracy=[0.5 * scale] * 9 + [last * scale])
    assert len(found("below-baseline", run, profile)) == count


def test_a_baseline_in_percent_fits_a_share():
    percent = Baseline(name="mine", value=99, epochs=2)
    assert len(found("below-baseline", compared(percent, accuracy=[0.5, 0.8]))) == 1
    assert found("below-baseline", compared(percent, accuracy=[0.5, 0.98])) == []


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("last", "count"), [(0.23, 1), (0.21, 0), (0.05, 0)])
def test_an_error_is_better_when_lower(profile, last, count):
    assert len(found("below-baseline", metric_run("wer", [0.9, 0.6, last], ERROR), profile)) == count


@pytest.mark.parametrize(("last", "count"), [(-90.0, 0), (-105.0, 0), (-120.0, 1)])
def test_a_negative_score_is_judged_by_its_size(last, count):
    elbo = Baseline(name="vae", metric="elbo", value=-100.0, epochs=2)
    assert len(found("below-baseline", metric_run("elbo", [-500.0, last], elbo))) == count


def test_a_run_in_its_third_of_ten_epochs_is_not_below_yet():
    run = compared(MNIST, accuracy=[0.3, 0.5, 0.7])
    assert len(found("below-baseline", run, "guide")) == 1
    assert found("below-baseline", run) == []
    assert held_back("below-baseline", run) == ["only 3 of the 10 epochs of the baseline"]


def test_a_resumed_run_has_the_epochs_before_it():
    run = compared(MNIST, numbers=[8, 9, 10], accuracy=[0.5, 0.5, 0.5])
    assert len(found("below-baseline", run)) == 1


def test_the_best_epoch_counts_in_the_robust_profile():
    run = compared(MNIST, accuracy=[0.98] * 9 + [0.5])
    assert len(found("below-baseline", run, "guide")) == 1
    assert held_back("below-baseline", run) == ["its best epoch reached 0.98"]


@pytest.mark.parametrize(
    ("values", "count"),
    [([0.1 * n for n in range(1, 9)], 0), ([0.2, 0.3, 0.4, 0.5, *[0.5] * 8], 1), ([0.5] * 3, 0)],
    ids=["still improving", "at rest", "hardly begun"],
)
def test_without_epochs_it_waits_for_the_metric_to_settle(values, count):
    assert len(found("below-baseline", compared(Baseline(name="mine", value=0.95), accuracy=values))) == count


@pytest.mark.parametrize("values", [[], [None] * 12, [float("nan")] * 12], ids=["no epoch", "not logged", "nan"])
def test_nothing_to_compare_is_skipped(values):
    report = diagnose(run_with(accuracy=values), baseline=MNIST)
    assert report.skipped["below-baseline"] == ["baseline.metric"]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("total", "count"), [(1_000_001, 1), (1_000_000, 0), (10, 0), (0, 0)])
def test_more_than_twice_the_parameters_is_larger(profile, total, count):
    run = compared(MNIST, architecture={"total_parameters": total}, accuracy=[0.9])
    assert len(found("larger-than-baseline", run, profile)) == count


def test_a_baseline_without_parameters_says_nothing_of_size():
    run = run_with(architecture={"total_parameters": 10**9})
    assert diagnose(run, baseline=ERROR).skipped["larger-than-baseline"] == ["baseline.parameters"]


@pytest.mark.parametrize(
    ("hyperparameters", "tags", "name"),
    [
        ({"task": "mnist_cnn"}, [], "mnist_cnn"),
        ({"task": " mnist_cnn "}, ["task:other"], "mnist_cnn"),
        ({}, ["nightly", "task:mnist_cnn"], "mnist_cnn"),
        ({"task": 5}, "task:mnist_cnn", None),
        ({}, ["task:", 5], None),
    ],
)
def test_a_run_names_its_task(hyperparameters, tags, name):
    assert task_name(hyperparameters, tags) == name


@pytest.mark.parametrize(("task", "below"), [("mnist_cnn", True), ("translation", False), (None, True)])
def test_a_run_of_another_task_is_not_compared(task, below):
    run = Run.from_epochs(epochs_with(accuracy=[0.5] * 10), hyperparameters={"task": task})
    report = Policy(baseline="mnist_cnn").diagnose(run)
    assert ("below-baseline" in [issue.check_id for issue in report.issues]) == below


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "value is missing"),
        ({"value": 0}, "must not be 0"),
        ({"value": "0.9"}, "finite number"),
        ({"value": float("inf")}, "finite number"),
        ({"value": 1, "epochs": 0}, "epochs must be a whole number"),
        ({"value": 1, "parameters": 1.5}, "parameters must be a whole number"),
        ({"value": 1, "direction": "up"}, "higher or lower"),
        ({"value": 1, "metric": ""}, "1 to 100 characters"),
        ({"value": 1, "params": 5}, "did you mean parameters"),
        ([], "must be an object"),
    ],
    ids=repr,
)
def test_refuses(given, sentence):
    with pytest.raises(InvalidSetting, match=sentence):
        Baseline.from_mapping("mine", given)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("accuracy", "higher"), ("val_loss", "lower"), ("f1", "higher"), ("top1_error", "lower"), ("WER", "lower")],
)
def test_the_usual_direction_goes_without_saying(metric, direction):
    assert Baseline(name="x", metric=metric, value=1.0).direction == direction
