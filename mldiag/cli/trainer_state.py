"""The ``trainer_state.json`` that the Hugging Face Trainer leaves in each checkpoint.

Its ``log_history`` is a list of what was logged: the mean loss of the last ``logging_steps`` steps with the epoch as a
fraction, evaluations under ``eval_...``, and a summary at the end (``transformers.trainer_callback.TrainerState``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mldiag.cli.recorded import RecordedRun, UnreadableRun
from observer_client.record import Epoch, Gradients, Loss, Steps

HISTORY = "log_history"

_FEW_EPOCHS = 3
# A run of fewer is judged by the windows between its evaluations, if there are more of these.

_SPEED = ("_runtime", "_per_second", "_compilation_time", "_memory")
_KEPT = ("num_train_epochs", "max_steps", "train_batch_size", "logging_steps", "eval_steps")

Entry = Mapping[str, Any]


def from_trainer_state(state: Mapping[str, Any]) -> RecordedRun:
    """Return the run that ``state`` logged. Raises UnreadableRun when its history is no list of objects."""
    history = state[HISTORY]
    if not isinstance(history, list) or not all(isinstance(each, dict) for each in history):
        raise UnreadableRun(f"has no list of objects at $.{HISTORY}", hint="it should be a trainer_state.json")
    entries = [each for each in history if _number(each, "step") is not None]
    notes = [] if len(entries) == len(history) else [f"{len(history) - len(entries)} log entries name no step"]
    marks = _marks(entries)
    if not _counts_epochs(entries) or (len(marks) > _last_epoch(entries) and _last_epoch(entries) < _FEW_EPOCHS):
        windows = _between(entries, marks)
        notes.append("an epoch below is the time between two evaluations: the run made few whole epochs")
    else:
        windows = _by_epoch(entries)
    steps = _Spans()
    hyperparameters = {name: state[name] for name in _KEPT if state.get(name)}
    return RecordedRun(
        epochs=[_window(number, window, steps) for number, window in sorted(windows.items())],
        hyperparameters=hyperparameters | {"trainer": "transformers.Trainer"},
        notes=notes,
    )


class _Spans:
    """Says how many steps a logged mean is over: those since the one before."""

    def __init__(self) -> None:
        self.last = 0

    def up_to(self, step: int) -> tuple[int, int]:
        """Return the first step of the span that ends with ``step``, and its length (1 where steps do not rise)."""
        first = min(self.last + 1, step)
        self.last = step
        return first, max(step - first + 1, 1)


def _window(number: int, entries: Sequence[Entry], spans: _Spans) -> Epoch:
    logged = [each for each in entries if _is_training(each)]
    steps, losses, norms = Steps(), [], []
    for each in logged:
        first, count = spans.up_to(int(each["step"]))
        steps.first.append(first)
        steps.count.append(count)
        steps.loss_mean.append(_number(each, "loss"))
        steps.learning_rate.append(_number(each, "learning_rate"))
        losses.append((_number(each, "loss"), count))
        norms.append(_number(each, "grad_norm"))
    if any(norm is not None for norm in norms):
        steps.grad_norm_mean = norms
    known = [norm for norm in norms if norm is not None]
    rates = [rate for rate in steps.learning_rate if rate is not None]
    return Epoch(
        epoch=number,
        learning_rate=rates[-1] if rates else None,
        loss=_loss(losses, entries),
        gradients=Gradients(norm_mean=sum(known) / len(known), norm_max=_largest(known)) if known else None,
        steps=steps if logged else None,
    )


def _loss(losses: Sequence[tuple[float | None, int]], entries: Sequence[Entry]) -> Loss | None:
    known = [(loss, count) for loss, count in losses if loss is not None]
    n = sum(count for _, count in known)
    val: dict[str, float | None] = {}
    for each in entries:
        for name in each:
            if name.startswith("eval_") and not name.endswith(_SPEED):
                val[f"val_{name.removeprefix('eval_')}"] = _number(each, name)
    if not known and not val:
        return None
    mean = sum(loss * count for loss, count in known) / n if known else None
    return Loss(train_mean=mean, n_batches=n or None, val=val)


def _by_epoch(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    windows: dict[int, list[Entry]] = {}
    for each in entries:
        # What is logged at 2.0 tells of the second epoch.
        number = max(math.ceil(_number(each, "epoch") or 0.0) - 1, 0)
        windows.setdefault(number, []).append(each)
    return windows


def _between(entries: Sequence[Entry], marks: Sequence[int]) -> dict[int, list[Entry]]:
    windows: dict[int, list[Entry]] = {}
    for each in entries:
        number = sum(mark < int(each["step"]) for mark in marks)
        windows.setdefault(number, []).append(each)
    return windows


def _marks(entries: Sequence[Entry]) -> list[int]:
    return sorted({int(each["step"]) for each in entries if any(name.startswith("eval_") for name in each)})


def _counts_epochs(entries: Sequence[Entry]) -> bool:
    return all(_number(each, "epoch") is not None for each in entries)


def _last_epoch(entries: Sequence[Entry]) -> float:
    return max((_number(each, "epoch") or 0.0 for each in entries), default=0.0)


def _is_training(entry: Entry) -> bool:
    return "loss" in entry or "grad_norm" in entry


def _largest(values: Sequence[float]) -> float:
    return next((value for value in values if math.isnan(value)), max(values))


def _number(entry: Entry, name: str) -> float | None:
    value = entry.get(name)
    if isinstance(value, str):
        # Numbers that JSON cannot say, and what newer versions log as text.
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)
