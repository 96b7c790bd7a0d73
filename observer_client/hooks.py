"""Forward hooks that may be copied, pickled and compiled together with the model that they hang in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from contextlib import nullcontext, suppress
from typing import Any


class Hook:
    """A hook for one stay in a model. In a copied or pickled model it does nothing.

    What a pickle holds is of the standard library alone: a model that was saved while a hook was in it can be
    loaded where mldiag is not installed.
    """

    __slots__ = ("_act",)

    def __init__(self, act: Callable[..., None]) -> None:
        self._act = act

    def __call__(self, *arguments: Any) -> None:
        self._act(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Takes any arguments and returns None, as a hook that leaves the output alone does.
        return getattr, (nullcontext(), "__exit__")


def is_compiling() -> bool:
    """Say whether the compiler reads this: then nothing of a hook ends up in what it makes."""
    from torch import compiler  # A hook runs in a model, so torch is there.

    return bool(compiler.is_compiling())


def is_compiled(model: Any) -> bool:
    """Say whether ``model`` or a part of it is compiled: a hook would make it compile again."""
    return any(
        "_orig_mod" in each._modules or getattr(each, "_compiled_call_impl", None) is not None
        for each in model.modules()
    )


class OptimizerHooks:
    """Calls ``before`` and ``after`` around the steps of all optimizers, while it is hung: each hook makes every one
    of these steps longer. Without ``before`` that is not hung."""

    def __init__(self, before: Callable[..., None] | None, after: Callable[..., None]) -> None:
        self._before, self._after = before, after
        self._handles: list[Any] = []

    def hang(self) -> bool:
        """Begin to listen; return False where that is not possible now."""
        from torch.optim.optimizer import (  # Who hangs hooks has a model of torch.
            register_optimizer_step_post_hook,
            register_optimizer_step_pre_hook,
        )

        if not self._handles and not is_stepping():
            _remove_left()
            if self._before is not None:
                self._handles.append(register_optimizer_step_pre_hook(self._before))
            self._handles.append(register_optimizer_step_post_hook(self._after))
        return bool(self._handles)

    def rest(self) -> None:
        """Listen no more until `hang`, if that is possible now."""
        if self._handles and not is_stepping():
            self.leave()

    def leave(self) -> None:
        """Listen no more. What may still be called until the optimizer that steps now is done must be harmless."""
        _left.extend(self._handles)
        self._handles = []
        if _left and not is_stepping():
            _remove_left()


_left: list[Any] = []
"""Hooks that nobody needs any more."""


def _remove_left() -> None:
    # Another thread may be at it, too.
    with suppress(IndexError):
        while True:
            _left.pop().remove()


def is_stepping() -> bool:
    """Say whether an optimizer steps right now, in any thread: PyTorch goes through the hooks of all optimizers, and
    these must stay as they are.

    A garbage collection that ends a run may come in the middle of it, too.
    """
    return _runs("torch.optim.optimizer", {"wrapper"})


def is_in_backward() -> bool:
    """Say whether gradients are computed right now, in any thread: the engine goes through the hooks of parameters."""
    return _runs("torch.autograd", {"backward", "grad"})


def _runs(module: str, functions: Container[str]) -> bool:
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_code.co_name in functions and frame.f_globals.get("__name__") == module:
                return True
            frame = frame.f_back  # type: ignore[assignment]
    return False


def tensors(value: Any) -> list[Any]:
    """Return the tensors in what a module takes or returns, in order."""
    if hasattr(value, "is_floating_point") and hasattr(value, "shape"):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for each in value for tensor in tensors(each)]
    return []


def is_unreadable(tensor: Any) -> bool:
    """Say whether ``tensor`` has no numbers here and now: none at all, spread over processes, or not yet."""
    import torch  # There is a tensor, so it is there.

    # Asked for in vain, an attribute takes longer than all else here; a plain tensor has not got it.
    is_spread = type(tensor) is not torch.Tensor and hasattr(tensor, "to_local")
    if is_spread or tensor.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return True
    # Whatever runs while a CUDA graph is captured runs again with it each time.
    return bool(tensor.is_cuda and torch.cuda.is_current_stream_capturing())
