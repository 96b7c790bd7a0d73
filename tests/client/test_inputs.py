"""What goes into a model, against figures worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from observer_client import inputs
from tests.client.conftest import net, records


class Tokens(nn.Module):
    """Takes what language models of Hugging Face take."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 10)

    def forward(self, input_ids, attention_mask=None, labels=None):
        return self.head(self.embed(input_ids))


def figures(observe, model, passes, **settings):
    """Return what is recorded of a model called with each of ``passes``, positional or named arguments."""
    observer = observe(**settings)
    observer.register_model(model)
    for number, each in enumerate(passes):
        model(**each) if isinstance(each, dict) else model(*each)
        observer.step(number, 1.0)
    observer.flush()
    return records(observer, "epoch")[-1].get("data", {})


def test_scale_of_the_inputs(observe):
    x = torch.tensor([[0.0, 2.0, 4.0, 10.0], [-2.0, 0.0, 2.0, 0.0]])
    found = figures(observe, net(), [(x,)])
    assert (found["input_mean"], found["input_min"], found["input_max"]) == (2.0, -2.0, 10.0)
    assert found["input_std"] == pytest.approx(x.std(correction=0).item(), rel=1e-5)
    assert found["input_non_finite_share"] == 0


def test_what_is_not_finite_is_counted_and_left_out(observe):
    x = torch.tensor([[1.0, math.nan, 3.0, math.inf]])
    found = figures(observe, net(), [(x,)])
    assert (found["input_mean"], found["input_max"], found["input_non_finite_share"]) == (2.0, 3.0, 0.5)


def test_nothing_finite_has_no_mean(observe):
    found = figures(observe, net(), [(torch.full((2, 4), math.nan),)])
    assert found == {"input_non_finite_share": 1.0}


def test_only_the_first_batches_of_a_window_are_looked_at(observe):
    passes = [(torch.full((2, 4), float(number)),) for number in range(inputs.LOOKS + 5)]
    assert figures(observe, net(), passes)["input_max"] == inputs.LOOKS - 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions(observe, kind):
    found = figures(observe, net().to(kind), [(torch.full((2, 4), 300.0, dtype=kind),)])
    assert found["input_mean"] == 300.0 and found["input_std"] == 0


def test_the_largest_input_counts(observe):
    class Two(nn.Module):
        def forward(self, time, x):
            return x * time[:, None]

    found = figures(observe, Two(), [(torch.full((2,), 999.0), torch.ones(2, 8))])
    assert found["input_mean"] == 1.0


@pytest.mark.parametrize("how", ["no_grad", "eval mode"])
def test_inputs_of_validation_do_not_count(observe, how):
    model = net().train(how != "eval mode")
    with torch.set_grad_enabled(how != "no_grad"):
        assert figures(observe, model, [(torch.ones(2, 4),)]) == {}


IDS = torch.tensor([[5, 6, 7, 0], [5, 0, 0, 0]])
MASK = (IDS != 0).long()
LABELS = torch.where(IDS == 0, -100, IDS)


@pytest.mark.parametrize(
    ("named", "padding", "masked"),
    [
        pytest.param({"input_ids": IDS, "attention_mask": MASK}, 0.5, None, id="mask"),
        pytest.param({"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}, 0.5, 0.5, id="mask and labels"),
        pytest.param({"input_ids": IDS, "labels": torch.full_like(IDS, -100)}, None, 1.0, id="all masked"),
        pytest.param({"input_ids": IDS}, None, None, id="nothing said"),
    ],
)
def test_padding_and_labels_of_a_model_called_by_name(observe, named, padding, masked):
    found = figures(observe, Tokens(), [named])
    assert (found.get("padding_share"), found.get("masked_label_share")) == (padding, masked)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param((IDS, LABELS), id="tuple"),
        pytest.param({"input_ids": IDS, "labels": LABELS}, id="dict"),
        pytest.param([{"ids": IDS}, LABELS], id="nested"),
    ],
)
def test_padding_of_batches_by_its_number(observe, batch):
    observer = observe()
    for _ in observer.data([batch], pad_id=0):
        observer.step(0, 1.0)
    observer.flush()
    assert records(observer, "epoch")[-1]["data"] == {"padding_share": 0.5, "masked_label_share": 0.5}


def test_classes_of_a_batch_are_not_masked(observe):
    observer = observe()
    for _ in observer.data([(torch.ones(4, 3), torch.tensor([0, 1, 2, 1]))]):
        observer.step(0, 1.0)
    observer.flush()
    assert records(observer, "epoch")[-1]["data"] == {"masked_label_share": 0.0}


def test_the_model_gets_its_inputs_untouched(observe):
    observer, model = observe(), net()
    observer.register_model(model)
    x = torch.randn(3, 4, requires_grad=True)
    functional.cross_entropy(model(x), torch.tensor([0, 1, 2])).backward()
    assert x.grad is not None and x.grad.isfinite().all()
