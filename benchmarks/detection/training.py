"""One training loop with the options that people use. A fault changes a `Setup` before it is run, never this loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from observer_client import Observer, ObserverConfig

PROFILED_EPOCHS = 3
"""The profiler costs as much as many steps of networks this small, and sees the same in every epoch."""

Criterion = Callable[[Any, Tensor], Tensor]
BatchHook = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Gets the number of the step, inputs and targets; returns the batch to train on."""


def adam(rate: float, **options: Any) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    return lambda weights: torch.optim.AdamW(weights, lr=rate, **options)


def sgd(rate: float, **options: Any) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    return lambda weights: torch.optim.SGD(weights, lr=rate, **options)


@dataclass(slots=True, kw_only=True)
class Setup:
    """A training about to begin: a sound one, until a fault changes something.

    ``schedule`` gets the optimizer and the number of optimizer steps of the whole run. ``at_fault`` names the layers
    that a fault was injected into; it is the truth to compare with and never reaches the observer.
    """

    model: nn.Module
    train: TensorDataset
    val: TensorDataset | None
    criterion: Criterion
    accuracy: Callable[[Any, Tensor], float] | None = None
    epochs: int = 20
    batch_size: int = 64
    rate: float = 1e-3
    optimizer: Callable[[float], Callable[[Iterable[nn.Parameter]], Optimizer]] = adam
    schedule: Callable[[Optimizer, int], LRScheduler] | None = None
    clip: float | None = None
    accumulate: int = 1
    precision: torch.dtype | None = None
    scaler: torch.amp.GradScaler | None = None
    told: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters beyond those that every run logs."""

    optimized: Callable[[nn.Module], Iterable[nn.Parameter]] = lambda model: model.parameters()
    loader: Callable[[Setup], Iterable[Any]] | None = None
    train_mode: Callable[[nn.Module], object] = nn.Module.train
    val_mode: Callable[[nn.Module], object] = nn.Module.eval
    on_batch: list[BatchHook] = field(default_factory=list)
    on_step: list[Callable[[int, Optimizer], object]] = field(default_factory=list)
    on_epoch: list[Callable[[int], object]] = field(default_factory=list)
    gradient_factor: float = 1.0
    """What the loss is multiplied by before the gradient scaler sees it."""
    steps_optimizer: Callable[[int], bool] = lambda step: True
    clears_gradients: Callable[[int], bool] = lambda step: True
    flush_every: int | None = None
    """Steps between two flushes, where an epoch is too long a window."""
    observed: Callable[[ObserverConfig], Observer] = lambda config: Observer(run_name="run", config=config)
    loop: Callable[[Setup, Observer], None] | None = None
    """What trains instead of the common loop, where one loss and one optimizer are not enough."""
    at_fault: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.epochs * max(1, -(-len(self.train) // self.batch_size) // self.accumulate)

    def batches(self) -> Iterable[Any]:
        """Return a loader of shuffled batches."""
        last = len(self.train) <= 2 * self.batch_size
        order = BatchSampler(RandomSampler(self.train), self.batch_size, drop_last=not last)
        # Whole batches are picked by index: collating sample by sample would take longer than training.
        return DataLoader(self.train, sampler=order, batch_size=None)


Twist = Callable[[Setup], None]
"""Changes a training before it begins."""


def train(setup: Setup, observer: Observer) -> None:
    """Train as ``setup`` says, telling ``observer`` what a careful user tells. Raises what the training raises."""
    if setup.loop is not None:
        setup.loop(setup, observer)
        return
    loop = _Loop(setup, observer)
    for epoch in range(setup.epochs):
        loop.run_epoch()
        for hook in setup.on_epoch:
            hook(epoch)
        if not setup.flush_every:
            observer.flush(validate(setup, observer))


@torch.no_grad()
def validate(setup: Setup, observer: Observer) -> dict[str, float]:
    """Return loss and, where the task has one, accuracy on the validation data."""
    if setup.val is None:
        return {}
    setup.val_mode(setup.model)
    inputs, targets = setup.val.tensors
    output = setup.model(inputs)
    metrics = {"val_loss": float(setup.criterion(output, targets))}
    if setup.accuracy is not None:
        observer.observe_predictions(output, targets)
        metrics["val_acc"] = setup.accuracy(output, targets)
    return metrics


class _Loop:
    """The state that outlives an epoch."""

    def __init__(self, setup: Setup, observer: Observer) -> None:
        self.setup, self.observer = setup, observer
        self.weights = [weight for weight in setup.optimized(setup.model) if weight.requires_grad]
        self.optimizer = setup.optimizer(setup.rate)(self.weights)
        self.schedule = setup.schedule(self.optimizer, setup.steps) if setup.schedule else None
        self.loader = setup.loader(setup) if setup.loader else setup.batches()
        self.step = self.epoch = 0
        observer.register_model(setup.model, self.optimizer)
        observer.watch_data(setup.train, setup.val)
        if setup.scaler is not None:
            observer.observe_scaler(setup.scaler)
        observer.log_hyperparameters(
            {
                "learning_rate": setup.rate,
                "batch_size": setup.batch_size * setup.accumulate,
                "optimizer": type(self.optimizer).__name__,
                "epochs": setup.epochs,
                **({"max_grad_norm": setup.clip} if setup.clip else {}),
                **setup.told,
            }
        )

    def run_epoch(self) -> None:
        self.setup.train_mode(self.setup.model)
        for micro_batches in _grouped(self.loader, self.setup.accumulate):
            self._step(micro_batches)
            if self.setup.flush_every and self.step % self.setup.flush_every == 0:
                self.observer.flush(validate(self.setup, self.observer))
                self.setup.train_mode(self.setup.model)
        self.epoch += 1

    def _step(self, micro_batches: list[tuple[Tensor, Tensor]]) -> None:
        setup = self.setup
        losses, samples = [], 0
        for x, y in micro_batches:
            for hook in setup.on_batch:
                x, y = hook(self.step, x, y)
            losses.append(self._backward(x, y).detach())
            samples += len(y)
        norm, clipped = self._clip()
        if setup.steps_optimizer(self.step):
            self._update()
        if setup.clears_gradients(self.step):
            self.optimizer.zero_grad()
        for hook in setup.on_step:
            hook(self.step, self.optimizer)
        self.observer.step(self.step, torch.stack(losses).mean(), batch_size=samples, grad_norm=norm, clipped=clipped)
        self.step += 1

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        setup, share = self.setup, 1 / self.setup.accumulate
        with self._autocast():
            if self._may_profile and self.observer.should_profile(self.step):
                _, loss = self.observer.profile_step(setup.model, x, y, setup.criterion)
                return loss
            loss = setup.criterion(setup.model(x), y)
        part = loss * share if setup.accumulate > 1 else loss
        (setup.scaler.scale(part * setup.gradient_factor) if setup.scaler else part).backward()
        return loss

    @property
    def _may_profile(self) -> bool:
        return self.setup.accumulate == 1 and self.setup.scaler is None and self.epoch < PROFILED_EPOCHS

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        precision = self.setup.precision
        return torch.autocast("cpu", dtype=precision) if precision else contextlib.nullcontext()

    def _clip(self) -> tuple[float, bool | None]:
        limit = self.setup.clip
        if self.setup.scaler:
            self.setup.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.weights, limit or float("inf")))
        return norm, None if limit is None else norm > limit

    def _update(self) -> None:
        if self.setup.scaler:
            self.setup.scaler.step(self.optimizer)
            self.setup.scaler.update()
        else:
            self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
