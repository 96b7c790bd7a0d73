"""What is broken in the third round alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from benchmarks.detection.acceptance import miswired
from benchmarks.detection.training import Setup, adam

MEMORY = (
    "CUDA out of memory. Tried to allocate 98.00 MiB (GPU 0; 15.90 GiB total capacity; 14.93 GiB already allocated; "
    "43.75 MiB free; 15.02 GiB reserved in total by PyTorch)"
)


def too_steep(done: float) -> float:
    """``gamma`` once a step where it was meant once an epoch."""
    return math.exp(-80 * done)


def rising(done: float) -> float:
    """A finder of rates that was never switched off."""
    return 1e-2 * 10 ** (5 * done)


def warm_up(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.LinearLR(optimizer, 1e-3, 1.0, max(2, steps // 5))


def _tanhs() -> nn.Module:
    layers: list[nn.Module] = []
    for place in range(14):
        layers += [nn.Linear(24 if place == 0 else 20, 20), nn.Sigmoid() if place % 2 else nn.Tanh()]
        nn.init.normal_(layers[-2].weight, 0.0, 0.05)  # type: ignore[arg-type]
    return nn.Sequential(*layers, nn.Linear(20, 24))


deep = miswired.rebuilt(_tanhs, tuple(str(2 * place) for place in range(9)))
"""Fourteen narrow layers with small weights, for sensors."""


def _gates() -> nn.Module:
    first, second = nn.Linear(10, 40), nn.Linear(40, 40)
    nn.init.normal_(first.weight, 0.0, 30.0)
    nn.init.normal_(second.weight, 0.0, 8.0)
    return nn.Sequential(first, nn.Sigmoid(), second, nn.Sigmoid(), nn.Linear(40, 5))


saturated = miswired.rebuilt(_gates, ("0", "1", "2", "3"))


def _long() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.ReLU(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(16 * 64, 384), nn.ReLU(), nn.Linear(384, 4),
    )  # fmt: skip


oversized_head = miswired.rebuilt(_long, ("4",), epochs=4, rate=1e-3)


def _same_size() -> nn.Module:
    layers: list[nn.Module] = []
    for place in range(6):
        layers += [nn.Conv2d(1 if place == 0 else 8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 3))


def pictures_unpooled(setup: Setup) -> None:
    """A classifier of the pictures whose convolutions never shrink them."""
    miswired.rebuilt(_same_size, tuple(str(2 * place) for place in range(6)), epochs=4, optimizer=adam)(setup)
    setup.criterion, setup.rate = nn.CrossEntropyLoss(), 2e-3


def offset_column(x: Tensor) -> Tensor:
    """One sensor counts from 1970."""
    x = x.clone()
    x[:, 3] = 400 * x[:, 3] + 3000
    return torch.as_tensor(x)


def both_offset(setup: Setup) -> None:
    """Inputs and targets of an autoencoder, one column of them in other units."""
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (offset_column(part.tensors[0]), offset_column(part.tensors[1]))
