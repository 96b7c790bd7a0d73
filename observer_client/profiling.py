"""One step of an epoch under the profiler. The functions are methods of `Observer`, kept here for its sake."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from observer_client.config import ObserverConfig
from observer_client.epochs import EpochWriter
from observer_client.guard import harmless
from observer_client.layers import LayerWatch
from observer_client.losses import loss_of, takes_targets
from observer_client.profiler import StepProfile
from observer_client.steps import StepBook
from observer_client.window import told

if TYPE_CHECKING:
    import torch


class Profiling(Protocol):
    """What the methods below need of an `Observer`."""

    config: ObserverConfig
    _live: bool
    _steps: StepBook
    _epochs: EpochWriter
    _layers: LayerWatch

    def observe_predictions(self, logits: Any, y: Any, *, split: str | None = None) -> None:
        """Count predictions by class."""


def should_profile(self: Profiling, step: int) -> bool:
    """Say whether to call `profile_step` for this step: once an epoch, at ``config.profile_at_step``.

    ``step`` counts within the epoch, since the start of training, or on from a resumed one: all are understood.
    """
    if not self._live or not self.config.track_profiler or self._epochs.profile is not None:
        return False
    self._steps.begin()
    return self.config.profile_at_step in (told("step", step), self._steps.here)


def profile_step(
    self: Profiling,
    model: torch.nn.Module,
    x: Any,
    y: Any,
    criterion: Callable[[Any, Any], torch.Tensor] | None = None,
    *,
    backward: Callable[[torch.Tensor], object] | None = None,
) -> tuple[Any, torch.Tensor]:
    """Run one step, forward and backward, under the profiler; return ``(logits, loss)``.

    The gradients are those of an ordinary step. ``backward`` replaces ``loss.backward()``, for instance by
    ``lambda loss: scaler.scale(loss).backward()``. The loss is ``criterion(logits, y)``, else what the model
    returns as loss, else cross-entropy for integer ``y`` and mean squared error for floating ``y``.

    Raises what the model raises, TypeError or ValueError when no loss fits ``y``.
    """
    profile = StepProfile(self._steps.total)
    _begin(self, profile, model)
    try:
        output = model(x, y) if criterion is None and takes_targets(model) else model(x)
        logits, loss = loss_of(output, y, criterion)
        self._layers.note_loss(loss, y)
        profile.mark("forward_pass")
        loss.backward() if backward is None else backward(loss)
        profile.mark("backward_pass")
    finally:
        _end(self, profile)
    if self.config.track_per_class_metrics:
        self.observe_predictions(logits, y, split="train")
    return logits, loss


@harmless
def _begin(observer: Profiling, profile: StepProfile, model: Any) -> None:
    if observer._live and observer.config.track_profiler:
        observer._steps.begin()
        began = perf_counter()
        observer._layers.spare()
        weights = next(iter(model.parameters()), None)
        profile.start(weights is not None and weights.is_cuda, model)
        observer._steps.skip(perf_counter() - began)
    profile.mark("between")


@harmless
def _end(observer: Profiling, profile: StepProfile) -> None:
    began = perf_counter()
    profile.stop()
    if observer._live and observer.config.track_profiler:
        if observer._epochs.profile is not None:
            observer._epochs.profile.leave_optimizer()
        profile.watch_optimizer()
        observer._epochs.profile = profile
    observer._steps.skip(perf_counter() - began)
