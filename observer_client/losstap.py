"""The loss of a step as autograd gets it: the tensor that a backward pass begins with."""

from __future__ import annotations

import functools
import weakref
from typing import Any

from observer_client.guard import harmless
from observer_client.hooks import is_compiling

_taps: weakref.WeakSet[LossTap] = weakref.WeakSet()
"""Weak, since an adapter may never hear of the exception that ended its fit."""
_wrapper: Any = None
"""What stands in for ``torch.autograd.backward``, for as long as somebody listens."""


class Passes:
    """Adds up the losses of the backward passes that belong to one step. Waits for no device."""

    def __init__(self) -> None:
        self._sum: Any = None
        self._count = 0

    @harmless
    def add(self, loss: Any) -> None:
        """Count a pass that begins with ``loss``, a tensor of one number."""
        loss = unscaled(loss)
        # A loss that is alone keeps its graph until the step: it tells what kind of loss this is.
        self._sum = loss if self._sum is None else self._sum.detach() + loss.detach()
        self._count += 1

    def take(self) -> tuple[Any, int]:
        """Return the sum of the losses, None without any, and their number; then begin anew."""
        found = self._sum, self._count
        self._sum, self._count = None, 0
        return found


class LossTap(Passes):
    """Sees every backward pass of this process from now on until `close`, by ``loss.backward()`` or another way.

    PyTorch has no hook for it, so ``torch.autograd.backward`` is wrapped meanwhile. A pass with gradients of its own,
    as those of checkpointed parts of a model, begins with no loss and does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        _taps.add(self)
        _wrap()

    def close(self) -> None:
        """See no more."""
        _taps.discard(self)
        if not _taps:
            _unwrap()


def unscaled(loss: Any) -> Any:
    """Return ``loss`` without the factor of a gradient scaler: one number in a tensor beside it.

    Must be called before the backward pass, which frees what is read here.
    """
    made_by = loss.grad_fn
    if made_by is None or made_by.name() != "MulBackward0":
        return loss
    for name in ("_saved_other", "_saved_self"):
        factor = getattr(made_by, name)
        # A Python number beside a tensor is kept in double precision: it belongs to the loss.
        if factor is not None and factor.ndim == 0 and factor.dtype == loss.dtype and factor.device == loss.device:
            return loss.detach() / factor
    return loss


@harmless
def _note(tensors: Any, gradients: Any) -> None:
    if gradients is not None or is_compiling():
        return
    if not _taps:
        _unwrap()
    roots = [tensors] if hasattr(tensors, "grad_fn") else list(tensors)
    if len(roots) == 1 and roots[0].numel() == 1:
        for each in list(_taps):
            each.add(roots[0])


def _wrap() -> None:
    global _wrapper
    if _wrapper is not None:
        return
    from torch import autograd  # Whoever listens for a loss has a model of torch.

    inner = autograd.backward

    @functools.wraps(inner)
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
        _note(tensors, grad_tensors)
        inner(tensors, grad_tensors, *args, **kwargs)

    _wrapper = autograd.backward = backward


def _unwrap() -> None:
    global _wrapper
    from torch import autograd

    # Somebody else's wrapper on top of it stays, and calls ours, which then only passes on.
    if autograd.backward is _wrapper:
        autograd.backward = _wrapper.__wrapped__
        _wrapper = None
