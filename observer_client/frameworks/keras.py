"""Keras 3 on PyTorch: ``model.fit(..., callbacks=[ObserverCallback(project="Digits")])``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from observer_client.afterwards import tell_afterwards
from observer_client.frameworks.fits import Fits, missing
from observer_client.frameworks.metrics import epoch_metrics
from observer_client.guard import harmless, log
from observer_client.losstap import LossTap
from observer_client.record import Architecture, LayerInfo

try:
    import keras
except ImportError as error:
    raise missing("keras", "keras") from error

_SETTINGS = ("epochs", "steps")


class ObserverCallback(Fits, keras.callbacks.Callback):
    """Records each ``fit`` as a run.

    The loss of a step is what ``backward`` was called on; what Keras logs is a mean over the epoch so far, in which a
    spike is hard to see. With another backend than PyTorch there are no steps, only metrics of epochs. Of layers it
    knows types and sizes: gradients and activations are not to be had by PyTorch's hooks.

    A step is recorded when the next one begins, not when it ends: Keras runs what comes at the end of a batch in
    another thread, behind the training.

    Keras does not tell callbacks of an exception. One that nobody catches is recorded all the same; for others, as in
    a notebook, use the callback as a context manager around ``fit``.
    """

    _losses: LossTap | None = None
    _fits = False

    @harmless
    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Open the run."""
        observer = self._begin_fit(0)
        self._fits = True
        self._stop_listening()
        told = {name: self.params.get(name) for name in _SETTINGS}
        optimizer = getattr(self.model, "optimizer", None)
        observer.log_hyperparameters(
            {"trainer": "keras", "optimizer": type(optimizer).__name__, **_loss_name(self.model), **told}
        )
        if keras.backend.backend() != "torch":
            log.warning("mldiag: with the %s backend only the metrics of epochs are seen", keras.backend.backend())
        elif observer.folder is not None:
            self._losses = LossTap()
        # Not `register_model`: what Keras puts into PyTorch are parameters in a bag, and its optimizers are its own.
        observer._write("architecture", _sizes(self.model))

    def _stop_listening(self) -> None:
        if self._losses is not None:
            self._losses.close()
            self._losses = None

    def _say_step(self) -> None:
        loss, passes = self._losses.take() if self._losses is not None else (None, 0)
        if passes:
            self.observer.step(loss=loss)

    @harmless
    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the step before."""
        self._say_step()

    @harmless
    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Record the last step of the epoch, before its validation."""
        self._say_step()

    @harmless
    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tell the metrics of ``evaluate`` after the fit, with its last epoch, as those of a test."""
        if not self._fits:
            tell_afterwards(self.observer, {f"test_{name}": value for name, value in epoch_metrics(logs or {}).items()})

    @harmless
    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """End the epoch with its metrics. The mean of the training loss is known better."""
        self._say_step()
        found = epoch_metrics({name: value for name, value in (logs or {}).items() if name != "loss"})
        metrics = {name if name.startswith("val_") else f"train_{name}": value for name, value in found.items()}
        self.observer.flush(metrics, epoch=epoch, lr=_rate(self.model))

    @harmless
    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Close the run."""
        self._end_fit()

    def _end_fit(self) -> None:
        self._fits = False
        self._stop_listening()
        super()._end_fit()

    def _fail(self, error: BaseException) -> None:
        self._fits = False
        self._stop_listening()
        super()._fail(error)


@harmless
def _rate(model: Any) -> float | None:
    # A schedule's value at this step, too.
    return float(model.optimizer.learning_rate)


def _sizes(model: Any) -> Architecture:
    total = int(model.count_params())
    found = Architecture(
        model_class=type(model).__name__,
        total_parameters=total,
        trainable_parameters=sum(math.prod(each.shape) for each in model.trainable_weights),
    )
    for name, layer in _layers(model, ""):
        if layer.weights:
            size = int(layer.count_params())
            found.layers[name] = LayerInfo(
                type=type(layer).__name__,
                parameters=size,
                pct_of_total=100.0 * size / total if total else None,
                trainable=bool(layer.trainable_weights),
            )
    return found


def _layers(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer, f"{prefix}{layer.name}.")
        else:
            yield f"{prefix}{layer.name}", layer


def _loss_name(model: Any) -> dict[str, str]:
    loss = getattr(model, "loss", None)
    if loss is None:
        return {}
    return {"loss": loss if isinstance(loss, str) else getattr(loss, "name", None) or type(loss).__name__}
