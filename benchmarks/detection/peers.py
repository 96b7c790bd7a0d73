"""The same runs, judged by packages that anyone can install: trainpulse and training-doctor, where they are there.

They get what they ask for, step by step: loss, gradient norm, learning rate and duration, and the validation loss at
the end of an epoch. They have no names for most faults, so they are compared by whether they say anything at all.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.detection.running import Trained

Step = dict[str, float]
"""What is known of one step, by name: loss, grad_norm, learning_rate, step_time, val_loss."""

_SERIES = {
    "loss_mean": "loss",
    "grad_norm_mean": "grad_norm",
    "learning_rate": "learning_rate",
    "seconds_mean": "step_time",
}


def steps_of(document: dict[str, Any]) -> Iterator[Step]:
    """Yield the steps of an exported run; numbers that were spelled become floats again."""
    for epoch in document["epochs"]:
        series = epoch.get("steps") or {}
        count = len(series.get("first", ()))
        columns = {name: series[key] for key, name in _SERIES.items() if series.get(key)}
        for at in range(count):
            step = {name: float(values[at]) for name, values in columns.items() if values[at] is not None}
            if at == count - 1 and (val := epoch["loss"].get("val", {}).get("val_loss")) is not None:
                step["val_loss"] = float(val)
            yield step


def trainpulse(steps: Sequence[Step]) -> bool:
    """Return whether trainpulse raises a warning or worse, with its defaults."""
    monitor = importlib.import_module("trainpulse").Monitor()
    for number, step in enumerate(steps):
        for name, value in step.items():
            monitor.log(name, number, value)
    return any(alert.severity.value != "info" for alert in monitor.alerts)


def training_doctor(steps: Sequence[Step]) -> bool:
    """Return whether training-doctor makes a diagnosis of a warning or worse, with its defaults."""
    doctor = importlib.import_module("training_doctor").Doctor()
    for number, step in enumerate(steps):
        # It divides by what it is told, so the numbers that it has no check for would end it.
        finite = {name: value for name, value in step.items() if math.isfinite(value) or name == "loss"}
        doctor.log(number, **finite)
    return any(found.severity.value != "info" for found in doctor.diagnoses)


PEERS: dict[str, Callable[[Sequence[Step]], bool]] = {
    "trainpulse": trainpulse,
    "training_doctor": training_doctor,
}


def installed() -> list[str]:
    """Return the names of the peers that can be imported here."""
    return [name for name in PEERS if importlib.util.find_spec(name)]


def alarmed(name: str, run: Trained) -> bool:
    """Return whether the peer of that name raises an alarm on a run."""
    return PEERS[name](list(steps_of(json.loads(run.path.read_bytes()))))
