"""Puts one epoch's record together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from observer_client import machine
from observer_client.carbon import CarbonMeter
from observer_client.config import ObserverConfig
from observer_client.extras import Extras
from observer_client.guard import harmless
from observer_client.layers import LayerWatch
from observer_client.past import Past
from observer_client.profiler import StepProfile
from observer_client.rankwatch import RankWatch
from observer_client.record import Epoch, Loss
from observer_client.signals import Signals
from observer_client.steps import StepBook
from observer_client.window import Window


class EpochWriter:
    """Numbers the epochs and adds to each what the machine says. What cannot be read is left out."""

    def __init__(self, config: ObserverConfig, steps: StepBook, past: Past) -> None:
        self.next = past.next_epoch
        self.profile: StepProfile | None = None
        """The step of this epoch that was profiled."""
        extras = Extras(
            gradient_histograms=config.track_gradient_histogram,
            activation_histograms=config.track_activation_histogram,
            attention=config.track_attention_patterns,
        )
        self.layers = LayerWatch(config.layer_health_every, extras)
        self.signals = Signals(steps, RankWatch(config), with_gpu=config.track_system and config.mode != "disabled")
        self._attempts, self._least = dict(past.attempts), past.least
        self._past: Past | None = past if past.steps else None
        self.steps_before = past.steps_before(past.next_epoch)
        """Steps of earlier processes, where a resumed run goes on counting."""
        self._memory = config.track_memory
        on = config.mode != "disabled"
        self._load = machine.LoadMeter() if on and config.track_system else None
        self._carbon = CarbonMeter(config.country) if on and config.track_carbon_emissions else None

    def number(self, epoch: int | None) -> tuple[int, int]:
        """Return the number of the epoch that ends now, the next one unless told, and how often it was repeated."""
        number = _whole(epoch)
        if number is None:
            number = self.next
        self.next = number + 1
        self._attempts[number] = self._attempts.get(number, self._least - 1) + 1
        return number, self._attempts[number]

    def again(self, record: Epoch) -> Epoch:
        """Return ``record`` as one that takes the place of the one written before."""
        attempt = self._attempts.get(record.epoch, record.attempt) + 1
        self.again_as(record.epoch, attempt)
        return replace(record, attempt=attempt)

    def again_as(self, epoch: int, attempt: int) -> None:
        """Note that ``epoch`` was written as that ``attempt``."""
        self._attempts[epoch] = max(attempt, self._attempts.get(epoch, attempt))

    def write(self, number: tuple[int, int], window: Window, now: float, *metrics: Any) -> Epoch:
        """Return the record of the epoch whose steps are in ``window``, ended at clock ``now``.

        ``metrics`` are mappings from name to value; the last one wins.
        """
        record = Epoch(epoch=number[0], attempt=number[1], ended_at=datetime.now(UTC).isoformat())
        self._add_steps(record, window, now)
        for each in metrics:
            self._add_metrics(record, each)
        record.loop = self.layers.read_loop()
        record.layer_health = self.layers.read()
        self._add_readings(record)
        self.signals.add_to(record, window)
        self._count_on(record)
        if record.throughput is not None:
            record.throughput.observer_seconds = self.layers.spent + perf_counter() - now
        self.layers.spent = 0.0
        return record

    @harmless
    def _count_on(self, record: Epoch) -> None:
        past, self._past = self._past, None
        if past is not None:
            # Only the first epoch that ends here says where the training was taken up again.
            self.steps_before = past.steps_before(record.epoch)
        if self.steps_before:
            count_on(record, self.steps_before)

    @harmless
    def _add_steps(self, record: Epoch, window: Window, now: float) -> None:
        window.close()
        record.duration_seconds = window.duration(now)
        record.loss = window.loss()
        record.throughput = window.throughput()
        record.gradients = window.gradients()
        record.steps = window.steps()

    @harmless
    def _add_metrics(self, record: Epoch, metrics: Any) -> None:
        if record.loss is None:
            record.loss = Loss()
        if not isinstance(metrics, Mapping):
            raise TypeError(f"val_metrics are numbers by name, not {metrics!r:.80}; an epoch's number is epoch=")
        for name, value in metrics.items():
            record.loss.val[str(name)] = _number(str(name), value)

    @harmless
    def _add_readings(self, record: Epoch) -> None:
        if self._memory:
            record.memory = machine.memory()
        if self._load is not None:
            record.system = self._load.read()
        if self._carbon is not None:
            record.carbon_emissions = self._carbon.read(record.duration_seconds or 0.0)
        profile, self.profile = self.profile, None
        if profile is not None:
            record.profiler = profile.read()

    def close(self) -> None:
        """Stop measuring."""
        self.layers.close()
        self.signals.close()
        if self._carbon is not None:
            self._carbon.close()
        if self.profile is not None:
            self.profile.leave_optimizer()


def count_on(record: Epoch, steps: int) -> None:
    """Number the steps of ``record`` on from so many ``steps`` of earlier processes."""
    if record.steps is not None:
        record.steps.first = [first + steps for first in record.steps.first]
    if record.loss is not None and record.loss.first_non_finite_step is not None:
        record.loss.first_non_finite_step += steps
    if record.profiler is not None and record.profiler.step is not None:
        record.profiler.step += steps
    for layer in record.layer_health.layers.values() if record.layer_health else ():
        if layer.first_non_finite_step is not None:
            layer.first_non_finite_step += steps


@harmless
def _whole(epoch: Any) -> int | None:
    try:
        return None if epoch is None else int(epoch)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"epoch is no whole number: {epoch!r:.80}") from error


@harmless
def _number(name: str, value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"the metric {name!r} is no number: {value!r:.80}") from error
