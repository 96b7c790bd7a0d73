"""What is broken in the second round alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from benchmarks.detection.acceptance import miswired
from benchmarks.detection.training import adam

MEMORY = (
    "CUDA out of memory. Tried to allocate 1.17 GiB. GPU 0 has a total capacity of 10.75 GiB of which 0.98 GiB is free."
)


def cosine_over_a_tenth(done: float) -> float:
    """``T_max`` in epochs, counted in steps: the rate is at zero after a tenth of the run and is held there."""
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, 10 * done))


def warm_up_of_nothing(done: float) -> float:
    """An integer division: the warm-up's share of the rate stays zero."""
    return float(int(done))


def growing(done: float) -> float:
    """Growth where decay was meant."""
    return 800**done


def one_cycle(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], total_steps=steps, div_factor=200)


def _deep() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for place in range(10):
        layers += [nn.Linear(18 if place == 0 else 32, 32), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(32, 3))


deep_sigmoids = miswired.rebuilt(_deep, tuple(str(1 + 2 * place) for place in range(7)))
"""Ten sigmoid layers for a board."""


def _loud() -> nn.Module:
    first, second = nn.Linear(10, 48), nn.Linear(48, 48)
    nn.init.normal_(first.weight, 0.0, 25.0)
    nn.init.normal_(second.weight, 0.0, 5.0)
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(48, 2))


saturated_tanh = miswired.rebuilt(_loud, ("0", "1", "2", "3"))


def _wide() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
        nn.Flatten(), nn.Linear(8 * 3 * 36, 512), nn.ReLU(), nn.Linear(512, 4),
    )  # fmt: skip


oversized_head = miswired.rebuilt(_wide, ("4",), epochs=4)


def _unpooled() -> nn.Module:
    layers: list[nn.Module] = []
    for place in range(4):
        layers += [nn.Conv2d(1 if place == 0 else 12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12 * 144, 6))


never_pooled = miswired.rebuilt(_unpooled, ("0", "3", "6", "9"), epochs=5, optimizer=adam, rate=1e-3)


def one_column_in_cents(x: Tensor) -> Tensor:
    """Prices in cents among standardized columns."""
    x = x.clone()
    x[:, 7] = 2500 * x[:, 7] + 12000
    return torch.as_tensor(x)
