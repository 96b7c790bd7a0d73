"""Where the learning rate is read: the optimizer given, or the one that is seen to step the model's parameters."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from observer_client.guard import harmless

if TYPE_CHECKING:
    import torch


class _Nothing:
    """Stands for an optimizer where none is known."""

    param_groups: ClassVar[list[dict[str, Any]]] = [{"lr": None}]


class RateReader:
    """Reads the learning rate of the first parameter group. Keeps neither model nor optimizer alive."""

    def __init__(self) -> None:
        self.source: Callable[[], Any] = _Nothing
        """Returns the optimizer, or what stands for it: its rate, where it is not ``last``, is for `changed`."""
        self.last: object = None
        self._optimizer: weakref.ref[torch.optim.Optimizer] | None = None
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._strangers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._hook: Any = None

    def use(self, optimizer: torch.optim.Optimizer) -> None:
        """Read from ``optimizer`` from now on."""
        self._optimizer = weakref.ref(optimizer, self._gone)
        if optimizer.param_groups and "lr" in optimizer.param_groups[0]:
            self.source = self._optimizer

    def _gone(self, optimizer: object) -> None:
        if optimizer is self._optimizer:
            self.source = _Nothing

    def find(self, model: torch.nn.Module) -> None:
        """Look out for the optimizer that steps parameters of ``model``, unless one is known."""
        self._model = weakref.ref(model)
        if self._optimizer is None and self._hook is None:
            from torch.optim.optimizer import register_optimizer_step_post_hook  # The model is torch's, so it is there.

            self._hook = register_optimizer_step_post_hook(self._seen)

    @harmless
    def _seen(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        model = self._model() if self._model else None
        if model is None or self._optimizer is not None or optimizer in self._strangers:
            return
        ours = {id(parameter) for parameter in model.parameters()}
        if any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
            # The hook leaves in `changed`: PyTorch goes through its hooks right now.
            self.use(optimizer)
        else:
            self._strangers.add(optimizer)

    def changed(self) -> float | None:
        """Return the rate when it is another one than at the last call."""
        if self._hook is not None:
            self.close()
        rate = self.source().param_groups[0]["lr"]
        # A rate in a tensor may live on a device: it is read by `current`, where waiting is allowed.
        if rate is self.last or type(rate) is not float:
            return None
        self.last = rate
        return rate

    def current(self) -> float | None:
        """Return the rate. May wait for a device."""
        self.last = None
        rate = self.source().param_groups[0]["lr"]
        return None if rate is None else float(rate)

    def close(self) -> None:
        """Stop looking out."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
