"""Predictions by class."""

from __future__ import annotations

import pytest
import torch

from observer_client import predictions
from tests.client.conftest import batches, net, records


def counts(observe, *calls, **options):
    observer = observe()
    for logits, y in calls:
        observer.observe_predictions(logits, y, **options)
    observer.flush()
    return records(observer, "epoch")[-1].get("classes", {})


LOGITS = torch.eye(3)[[0, 1, 1, 2]]
Y = torch.tensor([0, 1, 2, 2])
COUNTED = {"support": [1, 1, 2], "predicted": [1, 2, 1], "correct": [1, 1, 1]}


@pytest.mark.parametrize(
    ("logits", "y"),
    [
        pytest.param(LOGITS, Y, id="classes second"),
        pytest.param(LOGITS.reshape(2, 2, 3), Y.reshape(2, 2), id="classes last"),
        pytest.param(LOGITS.reshape(1, 4, 3).transpose(1, 2), Y.reshape(1, 4), id="a map"),
        pytest.param(LOGITS.argmax(1), Y, id="predicted classes"),
        pytest.param(LOGITS.half(), Y.int(), id="half precision"),
        pytest.param(LOGITS.clone().requires_grad_(), Y, id="with a graph"),
    ],
)
def test_counts(observe, logits, y):
    assert counts(observe, (logits, y)) == {"train": COUNTED}


@pytest.mark.parametrize(
    ("logits", "y"),
    [
        pytest.param(torch.tensor([2.0, -1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]), id="floating labels"),
        pytest.param(torch.tensor([[2.0], [-1.0], [3.0]]), torch.tensor([1, 0, 0]), id="a column"),
    ],
)
def test_one_logit_for_two_classes(observe, logits, y):
    expected = {"support": [2, 1], "predicted": [1, 2], "correct": [1, 1]}
    assert counts(observe, (logits, y)) == {"train": expected}


def test_masked_labels_do_not_count(observe):
    masked = torch.tensor([0, -100, 2, -1])
    expected = {"support": [1, 0, 1], "predicted": [1, 1, 0], "correct": [1, 0, 0]}
    assert counts(observe, (LOGITS, masked)) == {"train": expected}


@pytest.mark.parametrize("how", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_validation_is_kept_apart(observe, how):
    observer = observe()
    for _ in range(2):
        observer.observe_predictions(LOGITS, Y)
        with how():
            observer.observe_predictions(LOGITS.clone(), Y.clone())
    observer.observe_predictions(LOGITS, Y, split="val")
    observer.flush()
    found = records(observer, "epoch")[-1]["classes"]
    assert (found["train"]["support"], found["val"]["support"]) == ([2, 2, 4], [3, 3, 6])


def test_windows_are_kept_apart(observe):
    observer = observe()
    observer.observe_predictions(LOGITS, Y)
    observer.flush()
    observer.flush()
    assert ["classes" in each for each in records(observer, "epoch")] == [True, False]


def test_classes_may_become_more(observe):
    few, many = (torch.zeros(1, 2), torch.tensor([0])), (torch.eye(5)[[4]], torch.tensor([4]))
    assert counts(observe, few, many)["train"]["support"] == [1, 0, 0, 0, 1]


def test_a_vocabulary_is_no_set_of_classes(observe):
    words = predictions.MOST_CLASSES + 1
    assert counts(observe, (torch.zeros(2, words), torch.tensor([0, 1]))) == {}


def test_no_step_waits_for_the_device(observe, monkeypatch):
    observer = observe()

    def waits(*unused):
        raise AssertionError("a step waited for the device")

    for name in ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy", "nonzero"):
        monkeypatch.setattr(torch.Tensor, name, waits)
    observer.observe_predictions(LOGITS, Y)
    monkeypatch.undo()
    observer.flush()
    assert records(observer, "epoch")[-1]["classes"]["train"] == COUNTED


@pytest.mark.parametrize(
    ("logits", "y", "split", "words"),
    [
        pytest.param(LOGITS, Y[:3], None, "cannot match", id="other length"),
        pytest.param(LOGITS, torch.rand(4), None, "whole numbers", id="regression"),
        pytest.param(LOGITS.tolist(), Y, None, "two tensors", id="list"),
        pytest.param(LOGITS, Y, "test", "train or val", id="unknown split"),
    ],
)
def test_what_is_no_prediction_is_said_and_survived(observe, forgiving, caplog, logits, y, split, words):
    assert counts(observe, (logits, y), split=split) == {}
    assert words in caplog.text


@pytest.mark.parametrize(("told", "kinds"), [(True, {"train"}), (False, set())], ids=["on", "off"])
def test_predictions_of_the_profiled_step(observe, told, kinds):
    observer, model, (x, y) = observe(track_per_class_metrics=told), net(), batches(1)[0]
    observer.profile_step(model, x, y)
    observer.flush()
    assert set(records(observer, "epoch")[-1].get("classes", {})) == kinds
