"""Data, memory and time gone wrong, by how far; each function returns a twist that breaks a sound training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection.acceptance.fronts import loader_of
from benchmarks.detection.training import Setup, Twist


def labels_masked(from_share: float) -> Twist:
    """From a file on, every label is the one that the loss leaves out."""

    def twist(setup: Setup) -> None:
        setup.on_batch.append(
            lambda step, x, y: (x, torch.full_like(y, -100) if step >= from_share * setup.steps else y)
        )

    return twist


def batch_spoiled(at: float, spoil: Callable[[Tensor], Tensor]) -> Twist:
    def twist(setup: Setup) -> None:
        setup.on_batch.append(lambda step, x, y: (spoil(x) if step == int(at * setup.steps) else x, y))

    return twist


def nan_rows(rows: int) -> Callable[[Tensor], Tensor]:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[:rows] = float("nan")
        return x

    return spoil


def inputs_as(change: Callable[[Tensor], Tensor]) -> Twist:
    """Inputs as the file has them."""

    def twist(setup: Setup) -> None:
        for part in (setup.train, setup.val):
            if part is not None:
                part.tensors = (change(part.tensors[0]), *part.tensors[1:])

    return twist


def class_left(label: int, share: float) -> Twist:
    """Of one class only a share was collected to train on; validation has all."""

    def twist(setup: Setup) -> None:
        x, y = setup.train.tensors
        kept = (y != label) | (torch.rand(len(y)) < share)
        setup.train = TensorDataset(x[kept], y[kept])

    return twist


def leaked(share: float) -> Twist:
    """A part of the validation data was trained on, as when a split comes after the data were doubled."""

    def twist(setup: Setup) -> None:
        if setup.val is None:
            raise ValueError("there is no validation data to leak")
        copied = int(share * len(setup.val))
        pairs = zip(setup.train.tensors, setup.val.tensors, strict=True)
        setup.train = TensorDataset(*(torch.cat([train, val[:copied]]) for train, val in pairs))

    return twist


class _Waiting:
    """A loader that reads from a slow disk."""

    def __init__(self, batches: DataLoader[Any], seconds: Callable[[int], float]) -> None:
        self.batches, self.seconds, self.given = batches, seconds, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            time.sleep(self.seconds(self.given))
            self.given += 1
            yield batch

    def __len__(self) -> int:
        return len(self.batches)


def loading(seconds: Callable[[float], float]) -> Twist:
    """Loading a batch takes so many seconds, by the share of the run that is done."""

    def twist(setup: Setup) -> None:
        setup.loader = lambda ready: _Waiting(loader_of(ready), lambda given: seconds(given / ready.steps))

    return twist


def computing(seconds: Callable[[float], float]) -> Twist:
    """A step takes so many seconds longer, by the share of the run that is done."""

    def twist(setup: Setup) -> None:
        setup.on_step.append(lambda step, _: time.sleep(seconds(step / setup.steps)))

    return twist


def remembered(megabytes: int) -> Twist:
    """So much is kept over the run, a bit of it in each step."""

    def twist(setup: Setup) -> None:
        kept: list[Tensor] = []
        setup.on_step.append(lambda step, _: kept.append(torch.ones(megabytes * 2**18 // setup.steps)))

    return twist
