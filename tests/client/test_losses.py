from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from observer_client.losses import loss_of

CODES = torch.ones(2, 3)
EXTRA = torch.tensor(0.5, requires_grad=True) * 1


@pytest.mark.parametrize("output", [(CODES, EXTRA), (EXTRA, CODES)], ids=["loss last", "loss first"])
def test_a_function_of_the_users_gets_what_the_model_returned(output):
    assert loss_of(output, None, lambda given, _: given)[1] is output


@pytest.mark.parametrize("criterion", [nn.MSELoss(), functional.mse_loss], ids=["module", "function"])
def test_a_criterion_of_torch_gets_the_tensor(criterion):
    assert loss_of((CODES, EXTRA), torch.zeros(2, 3), criterion)[1] == 1


def test_a_function_gets_the_tensor_where_the_model_returned_no_loss():
    assert loss_of((CODES, None), None, lambda given, _: given)[1] is CODES
