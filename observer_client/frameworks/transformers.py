"""Hugging Face Transformers: ``Trainer(..., callbacks=[ObserverCallback(project="Digits")])``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from observer_client.afterwards import tell_afterwards
from observer_client.frameworks.fits import Fits, missing
from observer_client.frameworks.metrics import epoch_metrics
from observer_client.guard import harmless
from observer_client.losstap import LossTap

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise missing("transformers", "transformers") from error

_ALWAYS = (
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "num_train_epochs",
    "optim",
    "per_device_train_batch_size",
    "warmup_steps",
    "weight_decay",
)
_NEVER = ("output_dir", "logging_dir", "run_name", "hub_", "push_to_hub", "report_to")
_FEW_EPOCHS = 3
"""A run of fewer is told by the stretches between its evaluations, if there are more of these: as `mldiag check` reads
a ``trainer_state.json``."""


class ObserverCallback(Fits, TrainerCallback):
    """Records each ``trainer.train()`` as a run, in the main process.

    The loss of a step is what ``backward`` was called on, the micro-batches of an accumulated step together. It is not
    the logged one, from which the Trainer takes out what is not finite and which is a mean over ``logging_steps``.
    The norm of the gradient, before clipping, is known where the Trainer logs it.

    Metrics of evaluations are recorded once, with the epoch before them, under the names of validation:
    ``eval_loss`` becomes ``val_loss``. Those of ``evaluate()`` and ``predict()`` after the training join its last
    epoch. The Trainer does not tell callbacks of an exception. One that nobody catches is recorded all the same; for
    others, as in a notebook, use the callback as a context manager around ``train()``.
    """

    @harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Open the run."""
        observer = self._begin_fit(0 if state.is_world_process_zero else 1)
        self._due: int | None = None
        """The epoch that is over: closed when training goes on, so that an evaluation belongs to it."""
        self._metrics: dict[str, float] = {}
        self._has_steps = self._is_over = False
        self._unsaid: dict[str, Any] | None = None
        """A step whose norm is about to be logged."""
        self._every = _evaluates_every(args, state)
        self._stop_listening()
        if not observer._live:
            return
        self._losses = LossTap()
        self._count_from(state.global_step)
        observer.register_model(objects["model"], objects.get("optimizer"))
        observer.log_hyperparameters(_hyperparameters(args, state, objects["model"]))

    _losses: LossTap | None = None

    def _stop_listening(self) -> None:
        if self._losses is not None:
            self._losses.close()
            self._losses = None

    @harmless
    def on_step_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Close the epoch before, if there is one."""
        self._say_step()
        self._flush()

    @harmless
    def on_step_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Record the step."""
        if self._losses is None:
            return
        loss, _ = self._losses.take()
        samples = (state.train_batch_size or 0) * args.gradient_accumulation_steps
        self._unsaid = {"loss": loss, "batch_size": samples or None}
        self._has_steps = True
        if not control.should_log:
            self._say_step()

    _has_steps = _is_over = False

    @harmless
    def on_predict(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **objects: Any) -> None:
        """Tell the metrics of a test after the training."""
        if self._is_over:
            self._tell_afterwards(metrics)

    def _tell_afterwards(self, metrics: Mapping[str, Any]) -> None:
        told = {name: value for name, value in metrics.items() if name != "epoch"}
        tell_afterwards(self.observer, epoch_metrics(told))

    def _say_step(self, **more: Any) -> None:
        step, self._unsaid = self._unsaid, None
        if step is not None:
            self.observer.step(**step, **more)

    @harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Record the step that was waiting for its norm."""
        norm = (logs or {}).get("grad_norm")
        if norm is None:
            return
        limit = args.max_grad_norm
        self._say_step(grad_norm=norm, clipped=norm > limit if limit and limit > 0 else None)

    @harmless
    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **objects: Any) -> None:
        """Keep the metrics: more of the same evaluation may follow, of other data. After the training tell them."""
        if self._is_over:
            self._tell_afterwards(metrics)
            return
        if not self._has_steps:
            # Evaluated on start.
            return
        self._metrics.update(epoch_metrics({name: value for name, value in metrics.items() if name != "epoch"}))
        if self._every:
            self._due = math.ceil(state.global_step / self._every) - 1

    @harmless
    def on_epoch_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Note that the epoch is over. Its evaluation is still to come."""
        if not self._every:
            self._due = max(0, math.ceil(state.epoch or 0) - 1)

    def _flush(self) -> None:
        if self._due is None:
            return
        due, self._due = self._due, None
        metrics, self._metrics = self._metrics, {}
        self.observer.flush(metrics, epoch=due)

    @harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Close the run."""
        self._say_step()
        if self._every and self._due is None:
            self._due = math.ceil(state.global_step / self._every) - 1
        self._flush()
        self._end_fit()
        self._is_over = True

    def _end_fit(self) -> None:
        self._stop_listening()
        super()._end_fit()

    def _fail(self, error: BaseException) -> None:
        self._stop_listening()
        super()._fail(error)


def _evaluates_every(args: Any, state: Any) -> int:
    """Return the steps between evaluations where those mark the progress of the run, 0 where epochs do."""
    if str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "steps" or not state.eval_steps:
        return 0
    evaluations = state.max_steps / state.eval_steps
    few = state.num_train_epochs < _FEW_EPOCHS and evaluations > state.num_train_epochs
    return int(state.eval_steps) if few else 0


def _hyperparameters(args: Any, state: Any, model: Any) -> dict[str, Any]:
    """Return what was set, and what always matters. Tokens, addresses and folders stay here."""
    told: dict[str, Any] = {"trainer": "transformers.Trainer", "model": type(model).__name__}
    for each in fields(args):
        value = getattr(args, each.name)
        is_set = each.name in _ALWAYS or (each.default is not MISSING and value != each.default)
        if is_set and each.init and "token" not in each.name and not each.name.startswith(_NEVER):
            told[each.name] = getattr(value, "value", value)
    if state.global_step:
        told["resumed_from_step"] = state.global_step
    if origin := getattr(getattr(model, "config", None), "name_or_path", None):
        told["from_checkpoint"] = origin
    return told
