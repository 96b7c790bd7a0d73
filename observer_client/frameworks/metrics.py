"""Metrics under the names that checks look for, whatever a framework calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from observer_client.observer import Observer

_VALIDATION = re.compile(r"(?:val|valid|validation|eval|dev)[_/. -]", re.IGNORECASE)
_TRAINING = re.compile(r"(?:train|training)[_/. -]", re.IGNORECASE)
_SPEED = re.compile(r"_(?:runtime|\w+_per_second|model_preparation_time|compilation_time)$|_mem_(?:cpu|gpu)_")
_SHORT = {"accuracy": "acc"}


def is_validation(name: str) -> bool:
    """Say whether a metric is one of validation by its name.

    >>> is_validation("eval_loss"), is_validation("val/acc"), is_validation("value_loss")
    (True, True, False)
    """
    return _VALIDATION.match(name) is not None


def validation_name(name: str) -> str:
    """Return the name under which checks look for a metric of validation; others keep theirs.

    >>> validation_name("eval_loss"), validation_name("val/accuracy"), validation_name("validation_f1")
    ('val_loss', 'val_acc', 'val_f1')
    """
    if not is_validation(name):
        return name
    rest = _VALIDATION.sub("", name, count=1)
    return f"val_{_SHORT.get(rest, rest)}"


def epoch_metrics(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among ``values`` by the names of checks, without those that only tell the speed."""
    return {
        validation_name(str(name)): number
        for name, value in values.items()
        if _SPEED.search(str(name)) is None and (number := _number(value)) is not None
    }


def _number(value: Any) -> float | None:
    if hasattr(value, "numel") and value.numel() != 1:
        return None
    try:
        return None if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


class LoggedSteps:
    """Makes steps and epochs of what a training logs, for adapters that are told nothing else.

    A training loss (``loss``, ``train_loss``, ``train/loss``, ``train_loss_step``) is a step, with the learning rate
    and gradient norm that came with it. All other numbers are metrics of the epoch. That one ends when ``epoch`` is
    logged with another number, or, as long as no ``epoch`` is logged, with the metrics of a validation.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._epoch: int | None = None
        self._metrics: dict[str, float] = {}
        self._has_steps = False

    def take(self, logged: Mapping[str, Any]) -> None:
        """Take what was logged at once."""
        values = {str(name): number for name, value in logged.items() if (number := _number(value)) is not None}
        epoch = values.pop("epoch", None)
        if epoch is not None and epoch == epoch and int(epoch) != self._epoch:
            self.flush()
            self._epoch = int(epoch)
        loss = _taken(values, lambda name: _TRAINING.sub("", name).lower() in ("loss", "loss_step"))
        rate = _taken(values, lambda name: name.lower() in ("lr", "learning_rate") or name.lower().startswith("lr-"))
        norm = _taken(values, lambda name: name.lower() in ("grad_norm", "gradient_norm"))
        if loss is not None:
            self._observer.step(loss=loss, lr=rate, grad_norm=norm)
            self._has_steps = True
        self._metrics.update(epoch_metrics(values))
        if self._epoch is None and any(is_validation(name) for name in values):
            self.flush()

    def flush(self) -> None:
        """End the epoch, if there is anything in it."""
        if self._has_steps or self._metrics:
            self._observer.flush(self._metrics, epoch=self._epoch)
        self._metrics, self._has_steps = {}, False


class LoggedRuns:
    """The `LoggedSteps` of the run that is recorded now: a new one for a new run."""

    def __init__(self) -> None:
        self._observer: Observer | None = None
        self._steps: LoggedSteps | None = None

    def of(self, observer: Observer) -> LoggedSteps:
        """Return those of ``observer``."""
        if self._steps is None or self._observer is not observer:
            self._observer, self._steps = observer, LoggedSteps(observer)
        return self._steps


def _taken(values: dict[str, float], fits: Any) -> float | None:
    name = next((each for each in values if fits(each)), None)
    return None if name is None else values.pop(name)
