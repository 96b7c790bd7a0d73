"""Finds the gradient scaler of a model by the optimizer that it steps, so that nobody has to tell it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from observer_client.guard import harmless

_searches: weakref.WeakSet[ScalerSearch] = weakref.WeakSet()
_wrapper: Any = None
"""What stands in for ``torch.amp.GradScaler.step``, for as long as somebody searches."""


class ScalerSearch:
    """Calls ``found`` with the first scaler that steps an optimizer of ``model``, and ends; or ends by `close`.

    Costs nothing where nobody scales gradients. PyTorch has no hook for it, so the method of the class is wrapped
    meanwhile.
    """

    def __init__(self, model: Any, found: Callable[[Any], object]) -> None:
        self._model = weakref.ref(model)
        self._found = found
        self._strangers: weakref.WeakSet[Any] = weakref.WeakSet()
        """Optimizers of other models."""
        _searches.add(self)
        _wrap()

    @harmless
    def look(self, scaler: Any, optimizer: Any) -> None:
        """Look at a step that ``scaler`` is about to take."""
        if not scaler.is_enabled() or optimizer in self._strangers:
            return
        model = self._model()
        held = {id(each) for each in model.parameters()} if model is not None else set()
        if any(id(each) in held for group in optimizer.param_groups for each in group["params"]):
            self.close()
            self._found(scaler)
        else:
            self._strangers.add(optimizer)

    def close(self) -> None:
        """Search no more."""
        _searches.discard(self)
        if not _searches:
            _unwrap()


def _wrap() -> None:
    global _wrapper
    if _wrapper is not None:
        return
    from torch.amp import GradScaler  # Whoever searches has a model of torch.

    inner = GradScaler.step

    @functools.wraps(inner)
    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        for each in list(_searches):
            each.look(self, optimizer)
        return inner(self, optimizer, *args, **kwargs)

    _wrapper = GradScaler.step = step


def _unwrap() -> None:
    global _wrapper
    from torch.amp import GradScaler

    # Somebody else's wrapper on top of it stays, and calls ours, which then only passes on.
    if _wrapper is not None and GradScaler.step is _wrapper:
        GradScaler.step = _wrapper.__wrapped__
        _wrapper = None
