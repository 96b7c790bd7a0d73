"""What a training tells beside its steps: waiting times, inputs, predictions, clipping, loss scale, shared samples.

`Signals` collects it for one run. The functions are methods of `Observer`, kept here for its sake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from observer_client.guard import harmless
from observer_client.inputs import InputWatch
from observer_client.loading import Batches, DataWait
from observer_client.nvml import GpuMeter
from observer_client.phases import PhaseWatch
from observer_client.predictions import ClassCounter
from observer_client.rankwatch import RankWatch
from observer_client.record import Epoch, Memory, System, Throughput, plain
from observer_client.samples import SampleWatch
from observer_client.scaler import ScalerWatch
from observer_client.signal_records import DataFigures
from observer_client.steps import StepBook
from observer_client.window import Window

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")


class Signals:
    """All signals of one run; ``add_to`` puts those of a window into its record. What nobody told costs nothing."""

    def __init__(self, steps: StepBook, ranks: RankWatch, *, with_gpu: bool) -> None:
        self.ranks = ranks
        self.steps = steps
        self.wait = DataWait()
        self.inputs = InputWatch()
        self.phases = PhaseWatch(steps, self.inputs.look)
        self.classes = ClassCounter()
        self.scaler = ScalerWatch()
        self.samples = SampleWatch()
        self._gpu = GpuMeter() if with_gpu else None

    @harmless
    def add_to(self, record: Epoch, window: Window) -> None:
        """Add what was seen since the last call. May wait for the device."""
        self._add_waiting(record, window)
        data = self.inputs.read() or DataFigures()
        self.samples.add_to(data)
        record.data = None if data == DataFigures() else data
        record.loss_scale = self.scaler.read()
        record.classes = self.classes.read() or {}
        self.ranks.add_to(record, window)
        self._add_load(record)

    def _add_waiting(self, record: Epoch, window: Window) -> None:
        seconds, batches = self.wait.read()
        sampled = self.phases.read()
        whole = window.busy()
        if sampled is not None:
            record.phases = sampled[0]
        if (batches or sampled is not None) and record.throughput is None:
            record.throughput = Throughput()
        if record.throughput is None:
            return
        if batches:
            record.throughput.data_wait_seconds = seconds
            record.throughput.data_wait_share = min(1.0, seconds / whole) if whole > 0 else None
            record.throughput.data_wait_steps, record.throughput.data_wait_estimated = batches, False
        elif sampled is not None:
            record.throughput.data_wait_share = sampled[1]
            record.throughput.data_wait_steps, record.throughput.data_wait_estimated = sampled[0].steps, True

    def _add_load(self, record: Epoch) -> None:
        load, used = (self._gpu.read() if self._gpu is not None else None) or (None, None)
        if load is not None:
            record.system = record.system or System()
            record.system.gpu_percent = load
        if used is not None:
            record.memory = record.memory or Memory()
            record.memory.gpu_used_mb = used

    def close(self) -> None:
        """Take everything out of the training."""
        self.phases.leave()
        self.scaler.leave()
        self.ranks.close()
        if self._gpu is not None:
            self._gpu.close()


class Observing(Protocol):
    """What the methods below need of an `Observer`."""

    _live: bool
    _signals: Signals

    def _write(self, kind: str, data: Any) -> None: ...


@harmless
def log_hyperparameters(self: Observing, values: Any = None, **more: Any) -> None:
    """Record hyperparameters: a mapping, a namespace or a dataclass, and keywords. Later values win."""
    given = values if values is None or isinstance(values, Mapping) else plain(values)
    if given is not None and not isinstance(given, Mapping):
        given = vars(values)
    self._write("update", {"hyperparameters": {**(given or {}), **more}})


def data(self: Observing, loader: Iterable[Batch], *, pad_id: int | None = None) -> Iterable[Batch]:
    """Return ``loader`` with its waiting times measured: ``for x, y in obs.data(loader)``.

    Length, attributes and batches are the loader's, and so are its errors. Padding is counted by an
    ``attention_mask``, or by ``pad_id`` in a batch's first tensor.
    """
    if not self._live:
        return loader
    signals = self._signals
    if pad_id is not None:
        signals.inputs.pad_id = pad_id

    def look(batch: Any) -> None:
        if self._live:
            signals.inputs.look_at_batch(batch)
            signals.samples.look(loader, batch)

    return Batches(loader, signals.wait, look, lambda: signals.samples.ended(loader))


@harmless
def watch_data(self: Observing, train: Any, val: Any) -> None:
    """Find out whether samples of ``val`` are in ``train``, too. Both are loaders or data sets.

    Data in tensors or arrays is compared by a thread in the background; other data as it comes through `data` in the
    first pass over each loader.
    """
    if self._live:
        self._signals.samples.watch(train, val)


@harmless
def observe_predictions(self: Observing, logits: Any, y: Any, *, split: str | None = None) -> None:
    """Count predictions by class. Waits for no device.

    ``logits`` is [samples, classes, ...] or [..., classes], or holds the predicted classes; ``y`` the labels, where
    those below zero do not count. ``split`` is "train" or "val", by default whether gradients are enabled.
    """
    if self._live:
        if hasattr(y, "is_floating_point"):
            self._signals.inputs.look_at_labels(y)
        self._signals.classes.add(logits, y, split)


@harmless
def observe_scaler(self: Observing, scaler: Any) -> None:
    """Watch a `torch.amp.GradScaler`: its scale, and the steps that it throws away."""
    if self._live:
        self._signals.scaler.watch(scaler)


def clip_grad_norm_(
    self: Observing, parameters: Any, max_norm: float, norm_type: float = 2.0, **options: Any
) -> torch.Tensor:
    """Clip gradients by `torch.nn.utils.clip_grad_norm_` and record norm and clipping with the next step.

    Returns the norm before clipping. Raises what torch raises; waits for no device.
    """
    from torch.nn.utils import clip_grad_norm_ as clip  # The parameters are torch's, so it is there.

    norm = clip(parameters, max_norm, norm_type, **options)
    if self._live:
        _note_clipping(self._signals, norm, max_norm)
    return norm


@harmless
def _note_clipping(signals: Signals, norm: Any, max_norm: float) -> None:
    # A tensor on a device is compared there.
    signals.steps.clip(norm, norm > float(max_norm))
