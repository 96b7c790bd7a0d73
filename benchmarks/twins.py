"""Two twins of a model, trained in turn in one process: one is observed, the other is not."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter, thread_time

import torch
from torch.optim import optimizer as optim

Step = Callable[[], object]
BLOCK = 25


class Twin:
    """A model in training."""

    def __init__(self, model: torch.nn.Module, x: torch.Tensor) -> None:
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        self.x, self.y = x, torch.randint(0, 10, (len(x),))

    def step(self, before: Step | None = None) -> torch.Tensor:
        """Do one training step; ``before`` is called ahead of the optimizer. Return the loss."""
        loss = torch.nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        if before is not None:
            before()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def perceptron(depth: int = 2, width: int = 64) -> Twin:
    """Return a stack of ``depth`` linear layers; with 2 of them a step takes 0.2 to 0.4 ms."""
    parts = [part for _ in range(depth - 1) for part in (torch.nn.Linear(width, width), torch.nn.ReLU())]
    return Twin(torch.nn.Sequential(*parts, torch.nn.Linear(width, 10)), torch.randn(64, width))


def convolutional() -> Twin:
    """Return a small network for images of 28x28; a step takes about 10 ms."""
    parts = []
    for before, after in ((1, 16), (16, 32)):
        parts += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
        parts.append(torch.nn.MaxPool2d(2))
    return Twin(
        torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(32 * 49, 10)), torch.randn(64, 1, 28, 28)
    )


def ratios(observed: Step, plain: Step, steps: int, block: int = BLOCK) -> tuple[float, float]:
    """Return observed over plain blocks of steps, by wall time and by the CPU time of this thread.

    Each is the mean of the pairs of blocks without the tenth at either end: a median would leave out that some blocks
    have a sampled step and others have none. The order changes from pair to pair.
    """

    def timed(step: Step) -> tuple[float, float]:
        wall, cpu = perf_counter(), thread_time()
        for _ in range(block):
            step()
        return perf_counter() - wall, thread_time() - cpu

    for _ in range(4):
        timed(observed), without_hooks(lambda: timed(plain))
    found = []
    for pair in range(max(5, steps // block)):
        if pair % 2:
            first, second = timed(observed), without_hooks(lambda: timed(plain))
        else:
            second, first = without_hooks(lambda: timed(plain)), timed(observed)
        found.append((first[0] / second[0], first[1] / second[1]))
    wall, cpu = (_middle(sorted(column)) for column in zip(*found, strict=True))
    return wall, cpu


def _middle(ordered: list[float]) -> float:
    return statistics.fmean(ordered[len(ordered) // 10 : -len(ordered) // 10 or None])


def without_hooks(work: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Do ``work`` with the hooks of all optimizers out of the way: the unobserved twin must not pay for them."""
    places = optim._global_optimizer_pre_hooks, optim._global_optimizer_post_hooks
    kept = [dict(place) for place in places]
    for place in places:
        place.clear()
    try:
        return work()
    finally:
        for place, hooks in zip(places, kept, strict=True):
            place.update(hooks)
