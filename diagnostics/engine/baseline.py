"""What a run is compared with: the figures that are usual for its task (guide 11.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from diagnostics.engine.refusals import InvalidSetting, alike, is_finite_number, refuse_unknown

NAME_LENGTH = 100
DIRECTIONS = ("higher", "lower")
"""Which way a metric is good."""

_MOST = 2**63
_LOWER = {"loss", "error", "err", "perplexity", "ppl", "mae", "mse", "rmse", "wer", "cer", "fid", "bpc", "nll"}
_COLUMNS = {
    "accuracy": ("loss.val.val_acc", "loss.val.val_accuracy", "loss.val.accuracy", "loss.val.acc"),
    "loss": ("loss.val.val_loss", "loss.val.loss"),
    "train_loss": ("loss.train_mean",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is usual for a task: ``value`` of ``metric``, the epochs that it takes and the parameters that it needs.

    ``metric`` is "accuracy", "loss", "train_loss" or the name of a validation metric. Without a direction, what is
    called a loss or an error is better when lower. Raises InvalidSetting.
    """

    name: str
    value: float
    metric: str = "accuracy"
    direction: str = ""
    epochs: int | None = None
    parameters: int | None = None

    def __post_init__(self) -> None:
        for name, length in (("name", NAME_LENGTH), ("metric", NAME_LENGTH)):
            text = getattr(self, name)
            if not isinstance(text, str) or not 0 < len(text.strip()) <= length:
                raise InvalidSetting(f"{name} must be a text of 1 to {length} characters", name)
        if not is_finite_number(self.value):
            raise InvalidSetting(f"value must be a finite number, not {self.value!r}", "value")
        if self.value == 0:
            raise InvalidSetting("value must not be 0: nothing can be a share of it", "value")
        for name in ("epochs", "parameters"):
            count = getattr(self, name)
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 < count < _MOST):
                raise InvalidSetting(f"{name} must be a whole number from 1 on, not {count!r}", name)
        if self.direction not in ("", *DIRECTIONS):
            raise InvalidSetting(f"direction must be higher or lower, not {self.direction!r}", "direction")
        object.__setattr__(self, "direction", self.direction or _usual_direction(self.metric))

    @classmethod
    def from_mapping(cls, name: str, given: Mapping[str, Any]) -> Self:
        """Return the baseline that ``given`` describes, without what is None. Raises InvalidSetting."""
        if not isinstance(given, Mapping):
            raise InvalidSetting("must be an object with metric and value")
        refuse_unknown(given, [each.name for each in fields(cls) if each.name != "name"], "setting of a baseline")
        if given.get("value") is None:
            raise InvalidSetting("value is missing: the figure that is usual for the task", "value")
        return cls(name=name, **{key: value for key, value in given.items() if value is not None})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns in which the metric may have been logged; the first one that was counts."""
        return _COLUMNS.get(self.metric, (f"loss.val.{self.metric}",))

    @property
    def is_higher_better(self) -> bool:
        return self.direction == "higher"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _usual_direction(metric: str) -> str:
    words = set(re.split(r"[^a-z]+", metric.lower()))
    return "lower" if words & _LOWER else "higher"


SHIPPED = {
    each.name: each
    for each in (
        Baseline(name="mnist_cnn", metric="accuracy", value=0.99, epochs=10, parameters=500_000),
        Baseline(name="cifar10_resnet", metric="accuracy", value=0.93, epochs=100, parameters=11_000_000),
    )
}
"""The guide's two tasks."""


def task_name(hyperparameters: Mapping[str, Any], tags: object = ()) -> str | None:
    """Return the task that a run names: hyperparameter ``task``, else the first tag ``task:NAME``."""
    task = hyperparameters.get("task")
    if isinstance(task, str) and task.strip():
        return task.strip()
    named = (tag.partition(":")[2].strip() for tag in _texts(tags) if tag.startswith("task:"))
    return next((name for name in named if name), None)


def find_baseline(name: str, known: Mapping[str, Baseline]) -> Baseline:
    """Return the baseline of that name. Raises InvalidSetting, naming those there are."""
    if name not in known:
        there = ", ".join(sorted(known))
        raise InvalidSetting(f"there is no baseline {name!r}{alike(name, known)} (there are {there})", "baseline")
    return known[name]


def _texts(tags: object) -> list[str]:
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, (list, tuple)) else []
