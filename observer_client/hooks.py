"""Forward hooks that may be copied, pickled and compiled together with the model that they hang in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
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

    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or hasattr(tensor, "to_local") or tensor.is_meta:
        return True
    # Whatever runs while a CUDA graph is captured runs again with it each time.
    return bool(tensor.is_cuda and torch.cuda.is_current_stream_capturing())
