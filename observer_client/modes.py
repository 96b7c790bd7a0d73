"""In which mode a model is run: training or evaluation, with gradients or without."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiling

if TYPE_CHECKING:
    import torch

MOSTLY = 0.5
"""Share of the parameters that train, from which on a model in evaluation mode is no frozen one with a new head."""


class ModeTap:
    """Watches the passes through ``model`` by one hook at its door."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._trained = False
        self._evaluating = 0
        self._training_passes = self._evaluation_passes = 0
        self._handle: Any = model.register_forward_pre_hook(Hook(self._begins))
        self._model = weakref.ref(model)

    @harmless
    def _begins(self, module: Any, inputs: object) -> None:
        if is_compiling():
            return
        torch = _torch()
        if module.training:
            if torch.is_grad_enabled():
                self._trained = True
            elif self._training_passes or self._evaluation_passes or modes_matter(module):
                self._training_passes += 1
        elif torch.is_grad_enabled():
            self._evaluating = self._evaluating or evaluating_modules(module)
        else:
            self._evaluation_passes += 1

    @property
    def evaluating(self) -> int:
        """How many modules were in evaluation mode where gradients were asked for, and never in training mode."""
        return 0 if self._trained else self._evaluating

    def step(self) -> None:
        """Forget what ran without gradients so far: it belongs to a step, as a generator's samples do."""
        self._training_passes = self._evaluation_passes = 0

    @property
    def validates_in_training_mode(self) -> bool | None:
        """Whether all passes without gradients since the last step were in training mode; None when there is none."""
        if not self._training_passes and not self._evaluation_passes:
            return None
        return not self._evaluation_passes

    def leave(self) -> None:
        """Take the hook away."""
        self._handle.remove()


def modes_matter(model: Any) -> bool:
    """Say whether a part of ``model`` that is in training mode does something else in evaluation."""
    return any(each.training and _has_modes(each) for each in model.modules())


def evaluating_modules(model: Any) -> int:
    """Count the parts of a ``model`` which trains that do something else in training mode, and are not in it."""
    sizes = [(each.numel(), each.requires_grad) for each in model.parameters()]
    if sum(size for size, trains in sizes if trains) < MOSTLY * sum(size for size, _ in sizes):
        return 0
    return sum(
        not each.training and _has_modes(each) and all(own.requires_grad for own in each.parameters(recurse=False))
        for each in model.modules()
    )


def _has_modes(module: Any) -> bool:
    nn = _torch().nn
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return bool(module.p > 0)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return bool(module.track_running_stats)
    dropout = getattr(module, "dropout", 0)
    return isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and isinstance(dropout, float) and dropout > 0


def _torch() -> Any:
    import torch

    return torch
