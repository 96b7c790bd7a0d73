"""Settings gone wrong, by how far; each function returns a twist that breaks a sound training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import TensorDataset

from benchmarks.detection.training import Setup, Twist, adam, sgd


def rate_of(rate: float) -> Twist:
    """Another rate than the one that works, without the clipping and the schedule that would hide it."""

    def twist(setup: Setup) -> None:
        setup.rate, setup.clip, setup.schedule = rate, None, None

    return twist


def rate_changes(factor: float, at: float) -> Twist:
    """The rate is multiplied once, as when a group's rate is set by hand after a resume."""

    def twist(setup: Setup) -> None:
        def jump(step: int, optimizer: Optimizer) -> None:
            if step == int(setup.steps * at):
                for group in optimizer.param_groups:
                    group["lr"] *= factor

        setup.on_step.append(jump)

    return twist


def scheduled(share: Callable[[float], float]) -> Twist:
    """The rate as a function of the share of the run that is done."""

    def twist(setup: Setup) -> None:
        setup.schedule = lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, lambda at: share(at / steps))

    return twist


def advanced_per_epoch(build: Callable[[Optimizer, int], Any]) -> Twist:
    """A schedule made for all steps of the run that ``scheduler.step()`` advances only after each epoch."""

    def twist(setup: Setup) -> None:
        made: list[Any] = []

        class Remembering:
            def __init__(self, optimizer: Optimizer, steps: int) -> None:
                made.append(build(optimizer, steps))

            def step(self) -> None:
                """Called after each step of the optimizer, and does nothing then."""

        setup.schedule = Remembering  # type: ignore[assignment]
        setup.on_epoch.append(lambda epoch: made[-1].step())

    return twist


def plain_sgd(rate: float, momentum: float = 0.9) -> Twist:
    def twist(setup: Setup) -> None:
        setup.optimizer, setup.rate, setup.clip = lambda value: sgd(value, momentum=momentum), rate, None

    return twist


def clipped_at(norm: float, rate: float) -> Twist:
    def twist(setup: Setup) -> None:
        setup.optimizer, setup.rate, setup.clip = lambda value: sgd(value, momentum=0.9), rate, norm

    return twist


def decayed_by(weight: float) -> Twist:
    def twist(setup: Setup) -> None:
        setup.optimizer = lambda rate: adam(rate, weight_decay=weight)

    return twist


def penalized(weight: float) -> Twist:
    """A penalty on the size of the weights, written into the loss."""

    def twist(setup: Setup) -> None:
        inner = setup.criterion

        def loss(output: Any, y: Tensor) -> Tensor:
            return inner(output, y) + weight * sum(each.abs().sum() for each in setup.model.parameters())

        setup.criterion = loss

    return twist


def few_samples(samples: int, epochs: int, batch_size: int, rate: float = 1.0) -> Twist:
    def twist(setup: Setup) -> None:
        setup.train = TensorDataset(*(each[:samples] for each in setup.train.tensors))
        setup.epochs, setup.batch_size, setup.rate = epochs, batch_size, setup.rate * rate

    return twist


def wrong_labels(share: float, epochs: int) -> Twist:
    """Some labels are those of other samples, as hasty annotators leave them."""

    def twist(setup: Setup) -> None:
        x, y = setup.train.tensors
        y, wrong = y.clone(), torch.rand(len(y)) < share
        y[wrong] = y[wrong][torch.randperm(int(wrong.sum()))]
        setup.train, setup.epochs = TensorDataset(x, y), epochs

    return twist


def misaligned(epochs: int) -> Twist:
    """The inputs were shuffled and the labels were not."""

    def twist(setup: Setup) -> None:
        x, y = setup.train.tensors
        setup.train, setup.epochs = TensorDataset(x[torch.randperm(len(x))], y), epochs

    return twist
