"""Lightning: ``Trainer(callbacks=[ObserverCallback(project="Digits")])``.

The callback sees everything and is what to use. `ObserverLogger` records only what the training itself logs.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from observer_client.afterwards import tell_afterwards
from observer_client.frameworks.fits import Fits, missing
from observer_client.frameworks.metrics import LoggedRuns, epoch_metrics
from observer_client.guard import harmless
from observer_client.loadertap import samples_in
from observer_client.losstap import Passes
from observer_client.observer import Observer

try:
    # The same library under two names: classes of one are strangers to the other.
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        from pytorch_lightning.callbacks import Callback
        from pytorch_lightning.loggers import Logger
    else:
        from lightning.pytorch.callbacks import Callback
        from lightning.pytorch.loggers import Logger
    from lightning_utilities.core.rank_zero import rank_zero_only
except ImportError as error:
    raise missing("lightning", "lightning") from error

_SETTINGS = ("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "precision", "world_size")


class ObserverCallback(Fits, Callback):
    """Records each ``trainer.fit`` as a run: every optimizer step with its loss, every epoch with its metrics.

    The loss of a step is the sum of its ``backward`` passes as Lightning scales them, so accumulated batches add up to
    their mean. With several optimizers, as in a GAN, it is the sum of their losses. The sanity check is left out.
    Metrics of ``trainer.test`` and ``trainer.validate`` after the fit are told with its last epoch.
    An exception is recorded with the run, which is then crashed, or killed by Ctrl+C.
    """

    @harmless
    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run."""
        self._begin_fit(trainer.global_rank)
        self._passes, self._samples, self._stepped = Passes(), 0, trainer.global_step
        self._has_validated = False
        self._before: set[str] = set()
        self._validation: set[str] = set()

    @harmless
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Tell the model: only now are there optimizers, and weights of a checkpoint."""
        optimizers = trainer.optimizers
        self.observer.register_model(pl_module, optimizers[0] if optimizers else None)
        # What Lightning numbers the steps for loggers by: `global_step` counts those of each optimizer of a GAN.
        self._count_from(trainer.fit_loop.epoch_loop._batches_that_stepped)
        found = {name: getattr(trainer, name) for name in _SETTINGS}
        found["optimizer"] = ", ".join(type(each).__name__ for each in optimizers)
        if trainer.ckpt_path is not None:
            found["resumed_from"] = str(trainer.ckpt_path)
        self.observer.log_hyperparameters({**found, **dict(pl_module.hparams)})

    @harmless
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Keep the loss, before any filter or mean."""
        self._passes.add(loss)

    @harmless
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record a step, unless gradients are still being accumulated."""
        self._samples += samples_in(batch) or 0
        if trainer.global_step == self._stepped:
            return
        self._stepped = trainer.global_step
        loss, _ = self._passes.take()
        samples, self._samples = self._samples, 0
        self.observer.step(loss=loss, batch_size=samples or None)

    @harmless
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Remember which metrics were there before."""
        if not _is_fitting(trainer):
            return
        self._before = set(trainer.callback_metrics)

    @harmless
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note which metrics are validation's: Lightning keeps them on in epochs without one."""
        if trainer.sanity_checking:
            return
        if not _is_fitting(trainer):
            self._tell_afterwards(trainer)
            return
        self._validation |= set(trainer.callback_metrics) - self._before
        self._has_validated = True

    @harmless
    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Tell the metrics of a test, with the last epoch of the fit before it."""
        self._tell_afterwards(trainer)

    def _tell_afterwards(self, trainer: Any) -> None:
        tell_afterwards(self.observer, epoch_metrics(trainer.callback_metrics))

    @harmless
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """End the epoch with its metrics. Validation comes before this."""
        stale = set() if self._has_validated else self._validation
        self._has_validated = False
        fresh = {name: value for name, value in trainer.callback_metrics.items() if name not in stale}
        self.observer.flush(epoch_metrics(fresh), epoch=trainer.current_epoch)

    @harmless
    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the run."""
        self._end_fit()

    @harmless
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run with the reason."""
        self._fail(exception)


class ObserverLogger(Fits, Logger):
    """Records what a training logs: ``Trainer(logger=ObserverLogger(project="Digits"))``.

    Its steps are those that Lightning logs, one in 50 by default (``log_every_n_steps``), and of the model it knows
    nothing: `ObserverCallback` sees more. Do not use both, unless with the same ``observer``. See `LoggedSteps` for
    what becomes of the names.
    """

    def __init__(self, observer: Observer | None = None, **arguments: Any) -> None:
        super().__init__(observer, **arguments)
        self._logged = LoggedRuns()

    @property
    def name(self) -> str:
        """The library's word for a kind of logger."""
        return "mldiag"

    @property
    def version(self) -> str:
        """The key of the run."""
        return self.observer.key

    @property
    def experiment(self) -> Observer:
        """The Observer, for ``self.logger.experiment.log(...)``."""
        return self._open()

    def _open(self) -> Observer:
        if not self._is_open:
            self._begin_fit(_rank())
        return self.observer

    @harmless
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record what was logged at once."""
        self._logged.of(self._open()).take(metrics)

    @harmless
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters."""
        self._open().log_hyperparameters(params)

    @harmless
    def finalize(self, status: str) -> None:
        """End the run. Lightning says "success" or "failed"."""
        self._logged.of(self.observer).flush()
        error = sys.exc_info()[1]
        if status == "success" or error is None:
            self._end_fit()
        else:
            self._fail(error)


def _is_fitting(trainer: Any) -> bool:
    return str(getattr(trainer.state.fn, "value", trainer.state.fn)) == "fit"


def _rank() -> int:
    # What both names of Lightning build upon; it has no rank before there is a strategy.
    return int(getattr(rank_zero_only, "rank", 0) or 0)
