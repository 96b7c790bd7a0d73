"""Ultralytics: ``ObserverCallbacks(project="Boats").add_to(model)``, then ``model.train(...)`` as always.

Works with every trainer that has a list of callbacks by name and calls them as Ultralytics does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

from observer_client.afterwards import tell_afterwards
from observer_client.frameworks.fits import Fits
from observer_client.frameworks.metrics import epoch_metrics
from observer_client.guard import harmless

_EVENTS = ("on_train_start", "on_train_batch_end", "on_fit_epoch_end", "on_train_end")
_SETTINGS = ("task", "model", "epochs", "batch", "imgsz", "optimizer", "lr0", "momentum", "weight_decay", "amp", "seed")


class ObserverCallbacks(Fits):
    """Records each ``model.train()`` as a run, a batch as a step.

    The loss of a step is the sum of its parts as they are validated, ``val_loss`` the sum of those of the validation:
    what Ultralytics calls backward on is larger by the size of the batch. The evaluation of the best weights at the end
    joins the last epoch under ``final_`` names. Ultralytics does not tell callbacks of an exception. One that nobody
    catches is recorded all the same; for others use the object as a context manager around ``train()``. Callbacks do
    not reach the processes that it starts for several GPUs.
    """

    _epoch: int | None = None
    """The last epoch that was recorded."""

    def add_to(self, model: Any) -> Self:
        """Register the callbacks with ``model``, which has an ``add_callback(event, function)``."""
        for event in _EVENTS:
            model.add_callback(event, getattr(self, event))
        return self

    @harmless
    def on_train_start(self, trainer: Any) -> None:
        """Open the run."""
        self._epoch = None
        observer = self._begin_fit(max(0, int(os.environ.get("RANK", -1))))
        self._count_from(trainer.start_epoch * len(trainer.train_loader))
        observer.register_model(trainer.model, trainer.optimizer)
        told = {name: getattr(trainer.args, name) for name in _SETTINGS if hasattr(trainer.args, name)}
        observer.log_hyperparameters({"trainer": "ultralytics", **told})

    @harmless
    def on_train_batch_end(self, trainer: Any) -> None:
        """Record a step."""
        parts = trainer.loss_items
        loss = sum(parts.values()) if isinstance(parts, Mapping) else parts.sum()
        self.observer.step(loss=loss, batch_size=trainer.batch_size)

    @harmless
    def on_fit_epoch_end(self, trainer: Any) -> None:
        """End the epoch with its metrics."""
        metrics = epoch_metrics(trainer.metrics or {})
        losses = [value for name, value in metrics.items() if name.startswith("val_") and name.endswith("_loss")]
        if losses:
            metrics["val_loss"] = sum(losses)
        if trainer.epoch == self._epoch:
            tell_afterwards(self.observer, metrics)
            return
        self._epoch = trainer.epoch
        self.observer.flush(metrics, epoch=trainer.epoch)

    @harmless
    def on_train_end(self, trainer: Any) -> None:
        """Close the run."""
        self._end_fit()
