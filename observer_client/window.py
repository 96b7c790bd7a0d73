"""The steps between two flushes: cheap to add to, reduced once.

Adding a step must cost about a microsecond and must not wait for a device. A loss on the host is read at once;
a loss on an accelerator is copied there, stacked there, and read with one transfer when the window closes.
Memory is bounded: every `CONDENSE_AT` steps the raw numbers are reduced to buckets.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from observer_client.guard import harmless
from observer_client.moments import Moments, merged, moments
from observer_client.record import Gradients, Loss, Steps, Throughput

STACK_AT = 256
CONDENSE_AT = 16_384
_NOTHING = type(None)
_ON_HOST = (float, int, _NOTHING)


def snapshot(value: Any) -> Any:
    """Return ``value`` as it is now: a float, or a tensor of one number where reading would wait for a device.

    Takes a number or a tensor (its mean when it has several elements), and None.
    Raises TypeError or ValueError for anything else.
    """
    try:
        on_host = value.is_cpu
    except AttributeError:
        return None if value is None else float(value)
    # This runs at every step, so the ordinary case, one number on the host, comes first.
    if on_host and not value.ndim:
        return value.item()
    value = value.detach()
    if value.ndim:
        value = value.mean(dtype=None if value.is_floating_point() else _torch().float32)
    # A copy, not a view: CUDA graphs write the next loss into the same memory.
    return value.item() if on_host else value.clone()


@harmless
def told(name: str, value: Any) -> Any:
    """Return a `snapshot` of what a call names ``name``; what is no number costs itself only."""
    try:
        return snapshot(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} is no number: {value!r:.80}") from error


class Series:
    """Snapshots with the step they belong to; those on a device stay there until `read`."""

    __slots__ = ("_blocks", "_loose", "_on_device", "at")

    def __init__(self) -> None:
        self.at = array("q")
        self._loose: list[Any] = []
        self._blocks: list[Any] = []
        self._on_device = False

    def extend(self, first: int, values: Sequence[Any]) -> None:
        """Add the snapshots of the steps from ``first`` on, None where there is none."""
        kinds = set(map(type, values))
        steps: Iterable[int] = range(first, first + len(values))
        if _NOTHING in kinds:
            if len(kinds) == 1:
                return
            steps = [step for step, value in zip(steps, values, strict=True) if value is not None]
            values = [value for value in values if value is not None]
        self.at.extend(steps)
        self._loose.extend(values)
        if not all(issubclass(kind, _ON_HOST) for kind in kinds):
            self._on_device = True
            if len(self._loose) >= STACK_AT:
                self._stack()

    def read(self) -> list[float]:
        """Return the numbers as floats. Waits for the device, once."""
        if not self._on_device:
            return self._loose
        self._stack()
        host = _torch().cat(self._blocks)
        return [float(value) for value in host.tolist()]

    def parts(self, width: int, count: int, first: int) -> list[Moments | None]:
        """Return the moments of each of ``count`` stretches of ``width`` steps, None for one without a number.

        ``first`` is the number of step 0 since the start of training.
        """
        values = self.read()
        edges = [bisect_left(self.at, place * width) for place in range(count + 1)]
        return [
            moments(values[low:high], self.at[low:high], first) if high > low else None for low, high in pairwise(edges)
        ]

    def _stack(self) -> None:
        if not self._loose:
            return
        torch = _torch()
        tensors = self._blocks or [value for value in self._loose if not isinstance(value, (float, int))]
        home = tensors[0].device
        # Not every device knows float64, so only a loss that came in it stays in it.
        kind = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
        self._blocks.append(torch.stack([torch.as_tensor(value).to(home, kind) for value in self._loose]))
        self._loose = []


@dataclass(slots=True)
class Bucket:
    """Some steps in a row. ``first`` counts from the start of training."""

    first: int
    count: int
    seconds: float
    loss: Moments | None = None
    norm: Moments | None = None
    rate: float | None = None


class Window:
    """Collects the steps from one flush to the next. Not thread-safe: the Observer holds a lock."""

    __slots__ = (
        "_buckets",
        "_clipped",
        "_clipped_of",
        "_first",
        "_last",
        "_limit",
        "_losses",
        "_norms",
        "_rates",
        "_samples",
        "_times",
        "skipped",
        "started",
    )

    def __init__(self, first: int, limit: int, started: float | None = None) -> None:
        self._first = first
        self._limit = limit
        self._buckets: list[Bucket] = []
        self._samples: Any = None
        self._clipped: Any = 0
        self._clipped_of = 0
        self._last = started or 0.0
        self.started = started
        """Clock when the first step began, None when nobody said so."""
        self.skipped = 0.0
        """Seconds so far that were not the training's: our own profiling."""
        self._renew()

    def _renew(self) -> None:
        self._times = array("d")
        self._losses, self._norms, self._rates = Series(), Series(), Series()

    @property
    def first(self) -> int:
        """Number of the window's first step since the start of training."""
        return self._buckets[0].first if self._buckets else self._first

    def __len__(self) -> int:
        return self._first + len(self._times) - self.first

    def add(self, now: float, loss: Any, batch_size: Any, norm: Any, rate: Any) -> None:
        """Add a step that ended at clock ``now``; ``loss``, ``norm`` and ``rate`` are snapshots or None."""
        self.extend([now], [loss], [batch_size], [norm], [rate])

    def extend(
        self,
        times: Sequence[float],
        losses: Sequence[Any],
        batch_sizes: Sequence[Any],
        norms: Sequence[Any],
        rates: Sequence[Any],
    ) -> None:
        """Add steps, one entry each: what `add` takes."""
        position = len(self._times)
        self._times.extend([now - self.skipped for now in times] if self.skipped else times)
        for series, values in ((self._losses, losses), (self._norms, norms), (self._rates, rates)):
            series.extend(position, values)
        told = [size for size in batch_sizes if size is not None]
        if told:
            self._samples = sum(told) if self._samples is None else self._samples + sum(told)
        if len(self._times) >= CONDENSE_AT:
            self._condense()

    def note_clipping(self, clipped: Any) -> None:
        """Count a step whose gradient was, or was not, clipped."""
        self._clipped = self._clipped + clipped
        self._clipped_of += 1

    def begin(self, now: float) -> None:
        """Say that the first step begins at clock ``now``, unless that is known."""
        if self.started is None and not len(self):
            self.started = self._last = now - self.skipped

    def duration(self, now: float) -> float | None:
        """Return the seconds from the first step's begin to clock ``now``. Only after `close`."""
        return None if self.started is None else now - self.skipped - self.started

    def _condense(self) -> None:
        times = self._times
        if not times:
            return
        if self.started is None:
            # Nobody said when the first step began: it took as long as the others.
            self.started = self._last = times[0] - (times[-1] - times[0]) / max(1, len(times) - 1)
        width = -(-len(times) // self._limit)
        fresh = []
        for low in range(0, len(times), width):
            high = min(low + width, len(times))
            fresh.append(Bucket(self._first + low, high - low, times[high - 1] - self._last))
            self._last = times[high - 1]
        for bucket, part in zip(fresh, self._losses.parts(width, len(fresh), self._first), strict=True):
            bucket.loss = part
        for bucket, part in zip(fresh, self._norms.parts(width, len(fresh), self._first), strict=True):
            bucket.norm = part
        for position, rate in zip(self._rates.at, self._rates.read(), strict=True):
            fresh[position // width].rate = rate
        self._buckets += fresh
        while len(self._buckets) > self._limit:
            self._buckets = [_joined(self._buckets[at : at + 2]) for at in range(0, len(self._buckets), 2)]
        self._first += len(times)
        self._renew()

    def close(self) -> None:
        """Reduce what is left. Waits for the device, once for each series."""
        self._condense()
        rate = None
        for bucket in self._buckets:
            # The rate is only noted when it changes.
            rate = bucket.rate = rate if bucket.rate is None else bucket.rate

    def loss(self) -> Loss:
        """Return the statistics of the loss. Only after `close`, like all below."""
        total = merged(bucket.loss for bucket in self._buckets)
        if total is None:
            return Loss(n_batches=len(self))
        return Loss(
            train_mean=total.mean,
            train_std=total.std,
            train_min=total.low,
            train_max=total.high,
            n_batches=total.count,
            non_finite=total.non_finite,
            first_non_finite_step=total.first_non_finite,
        )

    def gradients(self) -> Gradients | None:
        """Return the statistics of the gradient norm, None when no step told one."""
        total = merged(bucket.norm for bucket in self._buckets)
        share = float(self._clipped) / self._clipped_of if self._clipped_of else None
        if total is None and share is None:
            return None
        return Gradients(
            norm_mean=total.mean if total else None, norm_max=total.high if total else None, clipped_share=share
        )

    def busy(self) -> float:
        """Return the seconds of the steps, validation not included."""
        return sum(bucket.seconds for bucket in self._buckets)

    def throughput(self) -> Throughput | None:
        """Return samples and batches per second over the steps, validation not included."""
        seconds = self.busy()
        samples = None if self._samples is None else float(self._samples)
        if not len(self):
            return None
        known = seconds > 0
        return Throughput(
            samples_per_second=samples / seconds if known and samples is not None else None,
            samples_processed=samples,
            batches_per_second=len(self) / seconds if known else None,
        )

    def steps(self) -> Steps | None:
        """Return the series, one entry a bucket."""
        buckets = self._buckets
        if not buckets:
            return None
        losses = [bucket.loss for bucket in buckets]
        norms = [bucket.norm for bucket in buckets]
        series = Steps(
            first=[bucket.first for bucket in buckets],
            count=[bucket.count for bucket in buckets],
            seconds_mean=[_short(bucket.seconds / bucket.count) for bucket in buckets],
        )
        if any(losses):
            series.loss_mean = [_short(each.mean) if each else None for each in losses]
            series.loss_min = [_short(each.low) if each else None for each in losses]
            series.loss_max = [_short(each.high) if each else None for each in losses]
        if any(norms):
            series.grad_norm_mean = [_short(each.mean) if each else None for each in norms]
            series.grad_norm_max = [_short(each.high) if each else None for each in norms]
        if any(bucket.rate is not None for bucket in buckets):
            series.learning_rate = [bucket.rate for bucket in buckets]
        return series


def _short(value: float) -> float:
    # As much as float32 carries: a third of the digits of a double.
    return float(f"{value:.8g}")


def _joined(pair: list[Bucket]) -> Bucket:
    a, b = pair[0], pair[-1]
    if a is b:
        return a
    return Bucket(
        a.first,
        a.count + b.count,
        a.seconds + b.seconds,
        merged((a.loss, b.loss)),
        merged((a.norm, b.norm)),
        b.rate if b.rate is not None else a.rate,
    )


def _torch() -> Any:
    # A tensor is there, so torch is: looked up, never imported on our account.
    return sys.modules["torch"]
