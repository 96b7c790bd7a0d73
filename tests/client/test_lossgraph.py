"""What the graph of a loss says of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from observer_client.lossgraph import facts_of

Z = torch.linspace(-2, 2, 18).view(6, 3).requires_grad_()
Y = torch.arange(6) % 3
REAL = torch.zeros(6, 3)
SEQUENCE, WORDS = Z.view(2, 3, 3), Y.view(2, 3)


@pytest.mark.parametrize("after_backward", [False, True])
@pytest.mark.parametrize(
    ("make", "kind", "summed"),
    [
        pytest.param(lambda: functional.cross_entropy(Z, Y), "cross_entropy", False, id="cross-entropy"),
        pytest.param(
            lambda: functional.cross_entropy(SEQUENCE.transpose(1, 2), WORDS), "cross_entropy", False, id="sequence"
        ),
        pytest.param(lambda: functional.cross_entropy(Z, Y, reduction="sum"), "cross_entropy", True, id="a sum"),
        pytest.param(lambda: functional.cross_entropy(Z, Y, reduction="none").sum(), "cross_entropy", True, id="sum()"),
        pytest.param(
            lambda: functional.cross_entropy(Z, Y, reduction="sum") / 6, "cross_entropy", False, id="a divided sum"
        ),
        pytest.param(lambda: -functional.cross_entropy(Z, Y), "cross_entropy", False, id="negated"),
        pytest.param(lambda: functional.nll_loss(Z.log_softmax(1), Y), "cross_entropy", False, id="nll"),
        pytest.param(lambda: functional.nll_loss(Z, Y), None, False, id="nll of anything"),
        pytest.param(lambda: functional.mse_loss(Z, REAL), "squared_error", False, id="squared error"),
        pytest.param(
            lambda: functional.binary_cross_entropy_with_logits(Z, REAL), "binary_cross_entropy", False, id="binary"
        ),
        pytest.param(lambda: functional.cross_entropy(Z, Y) * 0.5, None, False, id="a product has any sign"),
        pytest.param(lambda: functional.cross_entropy(Z, Y) + Z.mean(), None, False, id="two terms"),
        pytest.param(lambda: Z.square().mean(), None, False, id="written out"),
    ],
)
def test_kind_of_a_loss(make, kind, summed, after_backward):
    loss = make()
    if after_backward:
        loss.backward()
    found = facts_of(loss)
    assert (found.kind, found.summed) == (kind, summed)


@pytest.mark.parametrize(
    ("loss", "twice"),
    [
        pytest.param(lambda: functional.cross_entropy(Z.softmax(1), Y), True, id="softmax"),
        pytest.param(lambda: functional.cross_entropy(SEQUENCE.softmax(-1).flatten(0, 1), Y), True, id="reshaped"),
        pytest.param(lambda: 0.5 * functional.cross_entropy(Z.softmax(1), Y) + Z.mean(), True, id="one of two terms"),
        pytest.param(lambda: functional.nll_loss(Z.softmax(1), Y), True, id="nll of probabilities"),
        pytest.param(
            lambda: functional.binary_cross_entropy_with_logits(Z.sigmoid(), REAL), True, id="sigmoid, with logits"
        ),
        pytest.param(lambda: functional.binary_cross_entropy(Z.sigmoid(), REAL), False, id="sigmoid, without"),
        pytest.param(lambda: functional.cross_entropy(Z.log_softmax(1), Y), False, id="log-softmax"),
        pytest.param(
            lambda: functional.cross_entropy(Z.softmax(1) @ torch.eye(3), Y), False, id="softmax, then linear"
        ),
        pytest.param(lambda: functional.nll_loss(Z.softmax(1).log(), Y), False, id="log of softmax"),
        pytest.param(lambda: functional.mse_loss(Z.softmax(1), REAL), False, id="squared error of probabilities"),
    ],
)
def test_normalized_twice(loss, twice):
    assert facts_of(loss()).normalized_twice is twice


@pytest.mark.parametrize("label", [-100, 0, 2])
def test_label_that_is_left_out(label):
    assert facts_of(functional.cross_entropy(Z, Y, ignore_index=label)).ignored_label == label


@pytest.mark.parametrize("loss", [0.5, None, torch.tensor(0.5), Z.mean().detach()], ids=str)
def test_nothing_is_known_of_a_number(loss):
    assert facts_of(loss) is None
