"""The same training, written by other people: with `watch`, with five lines, with losses alone.

Each front is a twist that comes last: it fixes the optimizer and the loader that the others have chosen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.detection.training import Setup
from observer_client import Observer, watch


class Script:
    """A loop that tells nobody anything."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.weights = trainable(setup)
        self.optimizer = setup.optimizer(setup.rate)(self.weights)
        self.schedule = setup.schedule(self.optimizer, setup.steps) if setup.schedule else None
        self.loader: Any = setup.loader(setup) if setup.loader else loader_of(setup)
        self.step = self.batches = 0

    def epochs(self) -> Iterator[Iterator[Tensor]]:
        """Yield the losses of each epoch, one for each optimizer step."""
        for epoch in range(self.setup.epochs):
            self.setup.train_mode(self.setup.model)
            yield self._steps()
            for hook in self.setup.on_epoch:
                hook(epoch)

    def _steps(self) -> Iterator[Tensor]:
        setup, total = self.setup, torch.zeros(())
        for x, y in self.loader:
            for hook in setup.on_batch:
                x, y = hook(self.step, x, y)
            loss = self._loss(x, y) / setup.accumulate
            loss.backward()
            total += loss.detach()
            self.batches += 1
            if self.batches % setup.accumulate == 0:
                self._update()
                yield total
                total = torch.zeros(())

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        precision = self.setup.precision
        with torch.autocast("cpu", dtype=precision) if precision else contextlib.nullcontext():
            return self.setup.criterion(self.setup.model(x), y)

    def _update(self) -> None:
        setup = self.setup
        if setup.clip:
            nn.utils.clip_grad_norm_(self.weights, setup.clip)
        if setup.steps_optimizer(self.step):
            self.optimizer.step()
            if self.schedule is not None:
                self.schedule.step()
        if setup.clears_gradients(self.step):
            self.optimizer.zero_grad()
        for hook in setup.on_step:
            hook(self.step, self.optimizer)
        self.step += 1

    @torch.no_grad()
    def validated(self) -> dict[str, float]:
        """Return the validation loss by batches, as a mean of means, and the accuracy where there is one."""
        setup = self.setup
        if setup.val is None:
            return {}
        setup.val_mode(setup.model)
        losses, hits = [], []
        for x, y in DataLoader(setup.val, batch_size=128):
            output = setup.model(x)
            losses.append(float(setup.criterion(output, y)))
            hits.append(setup.accuracy(output, y) if setup.accuracy else 0.0)
        found = {"val_loss": sum(losses) / len(losses)}
        return found | {"val_accuracy": sum(hits) / len(hits)} if setup.accuracy else found


def trainable(setup: Setup) -> list[nn.Parameter]:
    """Return what the optimizer is to get."""
    return [weight for weight in setup.optimized(setup.model) if weight.requires_grad]


def loader_of(setup: Setup) -> DataLoader[Any]:
    return DataLoader(setup.train, setup.batch_size, shuffle=True, drop_last=len(setup.train) > 2 * setup.batch_size)


def watched(setup: Setup) -> None:
    """``with watch(model, optimizer, loader) as obs`` around the loop, validation told at the end of each epoch."""
    script = Script(setup)

    def run(ready: Setup, observer: Observer) -> None:
        for steps in script.epochs():
            for _ in steps:
                pass
            observer.flush(val_metrics=script.validated())

    setup.observed = lambda config: watch(setup.model, script.optimizer, script.loader, config=config)
    setup.loop = run


def watched_only(setup: Setup) -> None:
    """``with watch(model, optimizer, loader)`` and not a word more."""
    script = Script(setup)

    def run(ready: Setup, observer: Observer) -> None:
        for steps in script.epochs():
            for _ in steps:
                pass

    setup.observed = lambda config: watch(setup.model, script.optimizer, script.loader, config=config)
    setup.loop = run


def five_lines(setup: Setup) -> None:
    """Model, losses as floats and validation, as the first page of the manual has it."""

    def run(ready: Setup, observer: Observer) -> None:
        script = Script(ready)
        observer.register_model(ready.model, script.optimizer)
        for steps in script.epochs():
            for loss in steps:
                observer.step(loss=loss.item())
            observer.flush(script.validated())

    setup.loop = run


def losses_only(setup: Setup) -> None:
    """No model, one loss an epoch: what was printed goes to the observer as well."""

    def run(ready: Setup, observer: Observer) -> None:
        script = Script(ready)
        observer.log_hyperparameters({"lr": ready.rate, "batch_size": ready.batch_size, "epochs": ready.epochs})
        for steps in script.epochs():
            for loss in steps:
                observer.step(loss=float(loss), batch_size=ready.batch_size)
            observer.flush(script.validated())

    setup.loop = run
