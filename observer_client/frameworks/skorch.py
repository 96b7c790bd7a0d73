"""skorch: ``NeuralNetClassifier(..., callbacks=[ObserverCallback(project="Digits")])``."""

from __future__ import annotations

from typing import Any

from observer_client.frameworks.fits import Fits, missing
from observer_client.frameworks.metrics import epoch_metrics
from observer_client.guard import harmless
from observer_client.loadertap import samples_in

try:
    from skorch.callbacks import Callback
except ImportError as error:
    raise missing("skorch", "skorch") from error

_NO_METRICS = ("epoch", "dur", "batches", "train_loss", "train_batch_count", "valid_batch_count")


class ObserverCallback(Fits, Callback):
    """Records each ``fit`` and ``partial_fit`` as a run.

    Metrics are those of ``net.history``: ``valid_loss`` becomes ``val_loss``, ``valid_acc`` ``val_acc``. skorch does
    not tell callbacks of an exception. One that nobody catches is recorded all the same; for others use the callback
    as a context manager around ``fit``.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments, for scikit-learn's copies: each fit of a grid search is a run of its own."""
        return dict(self._arguments)

    @harmless
    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **more: Any) -> None:
        """Open the run."""
        observer = self._begin_fit(0)
        observer.register_model(net.module_, net.optimizer_)
        observer.log_hyperparameters(
            {
                "trainer": "skorch",
                "optimizer": type(net.optimizer_).__name__,
                "loss": type(net.criterion_).__name__,
                "learning_rate": net.lr,
                "batch_size": net.batch_size,
                "max_epochs": net.max_epochs,
            }
        )

    @harmless
    def on_batch_end(self, net: Any, batch: Any = None, training: bool | None = None, **step: Any) -> None:
        """Record a step of training."""
        if training:
            self.observer.step(loss=step["loss"], batch_size=samples_in(batch))

    @harmless
    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **more: Any) -> None:
        """End the epoch with its metrics."""
        row = net.history[-1]
        metrics = {name: value for name, value in row.items() if name not in _NO_METRICS and not name.endswith("_best")}
        self.observer.flush(epoch_metrics(metrics), epoch=row["epoch"] - 1)

    @harmless
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **more: Any) -> None:
        """Close the run."""
        self._end_fit()
