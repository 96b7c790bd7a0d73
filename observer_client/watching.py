"""`watch`: a training observed from the outside, its loop unchanged."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from observer_client.config import ObserverConfig
from observer_client.guard import harmless, log
from observer_client.hooks import is_stepping
from observer_client.loadertap import LoaderTap, samples_in
from observer_client.losstap import LossTap
from observer_client.observer import Observer

if TYPE_CHECKING:
    import torch

LOOK_EVERY = 16
"""One batch in so many is looked at for padding and masked labels: that takes as long as everything else together."""


def watch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    loader: Any = None,
    *,
    project_id: int | None = None,
    config: ObserverConfig | None = None,
    run_name: str | None = None,
    project: str | None = None,
    tags: list[str] | None = None,
) -> Observer:
    """Observe a training whose loop stays as it is: ``with watch(model, optimizer, train_loader): train()``.

    What is seen from the outside:

    - a step is a step of ``optimizer``, by default of any that holds parameters of ``model``;
    - its loss is what ``backward()`` was called on since the optimizer step before it, the mean of several passes, and
      without the factor of a gradient scaler; a loss that the loop divides for gradient accumulation is seen divided;
    - its batch size is that of the first tensor in what ``loader`` gave;
    - an epoch is a pass over ``loader``, to the end or broken off. It is closed when the next one begins, so that what
      comes between belongs to it.

    What is not: metrics of a validation, and epochs of a loop without a loader object (a list, a generator). Tell
    them: ``obs.flush(val_metrics={"val_loss": 0.4})`` ends an epoch. Whoever calls ``obs.step`` takes the steps into
    the own hands: the first call replaces the step that was seen, from then on only calls count.

    Returns an `Observer`; leaving its ``with`` block, or ``close``, ends the run and takes everything out of model,
    optimizer and loader. Raises ValueError for a config that makes no sense.
    """
    names = {"project_id": project_id, "run_name": run_name, "project": project, "tags": tags}
    return WatchingObserver(model, optimizer, loader, config=config, **names)


class WatchingObserver(Observer):
    """What `watch` returns: an `Observer` that makes the calls of the loop itself."""

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None, loader: Any, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._told = False
        """Whether the loop calls `step` itself."""
        self._samples: int | None = None
        self._over = False
        """Whether the loader was gone through since the last flush."""
        self._losses: LossTap | None = None
        self._loader: LoaderTap | None = None
        self._optimizers: Any = None
        self._ours: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
        """Whether the steps of an optimizer are those of this run."""
        self._held: frozenset[int] = frozenset()
        """Parameters by which to know the optimizer, if none was told."""
        if self._live:
            self._hang(model, optimizer, loader)

    @harmless
    def _hang(self, model: Any, optimizer: Any, loader: Any) -> None:
        # Accelerate hands out optimizers around those that step.
        optimizer = getattr(optimizer, "optimizer", optimizer)
        self.register_model(model, optimizer)
        # A hook of theirs would leave from within ours, while PyTorch goes through all of them.
        self._rates.close()
        self._ours = weakref.WeakKeyDictionary() if optimizer is None else weakref.WeakKeyDictionary({optimizer: True})
        self._held = frozenset() if optimizer is not None else frozenset(id(each) for each in model.parameters())
        self._losses = LossTap()
        self._listen()
        if loader is not None:
            self._follow(loader)

    def _listen(self) -> None:
        """Hear of the steps of optimizers, after everybody else here: a window hangs its own hooks anew."""
        from torch.optim.optimizer import register_optimizer_step_post_hook  # The model is torch's, so it is there.

        if self._optimizers is not None:
            if is_stepping():
                # In another thread, whose training hooks that come or go would end.
                return
            self._optimizers.remove()
        self._optimizers = register_optimizer_step_post_hook(self._stepped)

    @harmless
    def _stepped(self, optimizer: Any, args: object, kwargs: object) -> None:
        if self._losses is None:
            return
        # Each backward pass belongs to the optimizer that steps next, of whichever model.
        loss, passes = self._losses.take()
        is_ours = self._ours.get(optimizer)
        if is_ours is None:
            parameters = (each for group in optimizer.param_groups for each in group["params"])
            is_ours = self._ours[optimizer] = any(id(each) in self._held for each in parameters)
            if is_ours:
                self._use_optimizer(optimizer)
        if is_ours:
            self._see(loss, passes)

    def _follow(self, loader: Any) -> None:
        try:
            self._loader = LoaderTap(loader, began=self._begin_pass, came=self._count, ended=self._end_pass)
        except TypeError:
            kind = type(loader).__name__
            log.warning("mldiag: a %s cannot be watched: call obs.flush() at the end of each epoch", kind)

    @harmless
    def _count(self, batch: Any, waited: float) -> None:
        found = samples_in(batch)
        if found is not None:
            self._samples = found + (self._samples or 0)
        if self._live and self._loader is not None:
            self._signals.wait.note(waited)
            if self._steps.here % LOOK_EVERY == 0:
                self._signals.inputs.look_at_batch(batch)
            self._signals.samples.look(self._loader.loader, batch)

    @harmless
    def _begin_pass(self) -> None:
        if self._over and self._steps.here:
            self.flush()
        self._over, self._samples = False, None

    def _end_pass(self) -> None:
        self._over = True
        if self._live and self._loader is not None:
            self._signals.samples.ended(self._loader.loader)

    def data(self, loader: Iterable[Any], *, pad_id: int | None = None) -> Iterable[Any]:
        """Return ``loader`` with its waiting times measured; those of the watched one are so already."""
        if self._loader is None or loader is not self._loader.loader:
            return super().data(loader, pad_id=pad_id)
        if pad_id is not None:
            self._signals.inputs.pad_id = pad_id
        return loader

    def _see(self, loss: Any, passes: int) -> None:
        samples, self._samples = self._samples, None
        if not self._told:
            super().step(loss=loss if passes < 2 else loss / passes, batch_size=samples)

    @harmless
    def step(self, step: int | None = None, loss: Any = None, batch_size: int | None = None, **more: Any) -> None:
        """Record a step, as `Observer.step` does, in place of the steps that would be seen."""
        if not self._told:
            self._told = True
            if self._steps.fresh:
                # The step that this call tells of was counted a moment ago.
                self._steps.fresh.pop()
        super().step(step, loss, batch_size, **more)

    @harmless
    def flush(
        self,
        val_metrics: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
        lr: float | None = None,
        **metrics: Any,
    ) -> None:
        """End an epoch, as `Observer.flush` does: with its metrics, which cannot be seen from the outside."""
        self._over = False
        super().flush(val_metrics, epoch=epoch, lr=lr, **metrics)
        if self._live and not self._ended and self._optimizers is not None:
            self._listen()

    @harmless
    def _leave(self) -> None:
        super()._leave()
        for part in (self._losses, self._loader):
            if part is not None:
                part.close()
        if self._optimizers is not None:
            self._optimizers.remove()
