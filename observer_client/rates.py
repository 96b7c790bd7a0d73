"""Where the learning rate is read: the optimizer given, or the one that is seen to step the model's parameters."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from observer_client.guard import harmless
from observer_client.hooks import OptimizerHooks

if TYPE_CHECKING:
    import torch


Groups = list[dict[str, Any]]
_NOTHING: Groups = [{"lr": None}]
"""Stands for the parameter groups of an optimizer where none is known."""


class RateReader:
    """Reads the learning rate of the first parameter group. Keeps neither model nor optimizer alive."""

    def __init__(self) -> None:
        self.groups = _NOTHING
        """The parameter groups, of which the first one has the rate."""
        self._optimizer: weakref.ref[torch.optim.Optimizer] | None = None
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._strangers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._is_closed = False
        self._hooks = OptimizerHooks(None, self._seen)

    def use(self, optimizer: torch.optim.Optimizer) -> None:
        """Read from ``optimizer`` from now on."""
        self._optimizer = weakref.ref(optimizer, self._gone)
        self._take(optimizer)

    def _take(self, optimizer: torch.optim.Optimizer) -> None:
        groups = optimizer.param_groups
        self.groups = groups if groups and "lr" in groups[0] else _NOTHING

    def _gone(self, optimizer: object) -> None:
        if optimizer is self._optimizer:
            self.groups = _NOTHING

    def find(self, model: torch.nn.Module) -> None:
        """Look out for the optimizer that steps parameters of ``model``, unless one is known."""
        self._model = weakref.ref(model)
        self._is_closed = False
        self._listen()

    def _listen(self) -> None:
        """Listen for as long as the optimizer is not known."""
        if self._optimizer is not None:
            self._hooks.rest()
        elif self._model is not None and not self._is_closed:
            self._hooks.hang()

    @harmless
    def _seen(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        model = self._model() if self._model else None
        if model is None or self._optimizer is not None or optimizer in self._strangers:
            return
        ours = {id(parameter) for parameter in model.parameters()}
        if any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            # The hook leaves in `follow`: PyTorch goes through its hooks right now.
            self.use(optimizer)
        else:
            self._strangers.add(optimizer)

    def follow(self) -> None:
        """Look whether the optimizer has other groups, as one has that loaded a checkpoint."""
        self._listen()
        optimizer = self._optimizer() if self._optimizer else None
        if optimizer is not None and optimizer.param_groups is not self.groups:
            self._take(optimizer)

    def current(self) -> float | None:
        """Return the rate. May wait for a device."""
        self.follow()
        rate = self.groups[0]["lr"]
        return None if rate is None else float(rate)

    def close(self) -> None:
        """Stop looking out."""
        self._is_closed = True
        self._hooks.leave()
