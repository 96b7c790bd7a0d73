"""Whether backward passes, optimizer steps and resets of the gradients follow each other as they should."""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observer_client.guard import harmless
from observer_client.hooks import is_compiling, is_in_backward, is_unreadable
from observer_client.layout import Layer, thin

if TYPE_CHECKING:
    import torch

WATCHED = 3
"""Parameters that are watched: what happens to the gradients of one happens to all of its optimizer."""
PATIENCE = 64
"""Backward passes that are waited for: of gradient accumulation, or of a loop without an optimizer."""
MOST_STEPS = 16
"""Optimizer steps that are waited for, where one of several optimizers steps rarely or holds none of the watched."""
_COMPARED = 4096


@dataclass(slots=True, eq=False)
class _Watched:
    parameter: weakref.ref[torch.nn.Parameter]
    handle: Any = None
    was_bare: bool = False
    """Whether it had no table of hooks."""
    steps: int = 0
    stepped: Any = None
    """Part of the gradient that an optimizer stepped with."""
    kept: Any = None
    """Whether that was there, untouched, in each backward pass since: on its device."""
    reset: bool = False
    passes: int = 0


class BackwardProbe:
    """Watches the gradients of a few parameters from one optimizer step to the next, then leaves.

    Whoever forgets ``zero_grad`` adds the next gradient to the last one. Between two steps of an optimizer there is
    one pass at least, of whatever loss, that finds no gradient or zeros; unless nobody reset them.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.passes = self.steps = self.other_steps = 0
        self._watched = [_Watched(weakref.ref(each)) for each in _few(layers)]
        for each in self._watched:
            if (parameter := each.parameter()) is not None:
                each.was_bare = parameter._backward_hooks is None
                each.handle = parameter.register_hook(self._hook(each))

    @property
    def done(self) -> bool:
        """Whether there is no more to wait for."""
        return self.steps + self.other_steps >= MOST_STEPS or all(each.steps > 1 for each in self._watched)

    def _hook(self, watched: _Watched) -> Any:
        @harmless
        def arrived(gradient: object) -> None:
            if is_compiling():
                return
            self.passes += 1
            watched.passes += 1
            if watched.stepped is not None:
                self._look(watched)
            if watched.passes >= PATIENCE:
                self._release(watched)

        return arrived

    def _look(self, watched: _Watched) -> None:
        torch = _torch()
        parameter = watched.parameter()
        left = None if parameter is None else parameter.grad
        if left is None or left.is_sparse or is_unreadable(left) or watched.reset:
            watched.reset = True
            return
        with torch.no_grad():
            part = thin(left, _COMPARED)
            if watched.kept is None:
                same = part.shape == watched.stepped.shape
                kept = (part == watched.stepped).all() & (part != 0).any() if same else (part != part).all()
            else:
                kept = watched.kept & (part != 0).any()
        watched.kept = kept

    def before(self, held: Container[int]) -> None:
        """Note that an optimizer of the parameters whose ids are ``held`` is about to step."""
        for each in self._watched:
            if id(each.parameter()) in held:
                each.steps += 1
                if each.steps > 1:
                    self._release(each)

    def after(self, held: Container[int], is_ours: bool) -> None:
        """Note that it has stepped; ``is_ours`` says whether it holds parameters of the model."""
        if not is_ours:
            self.other_steps += 1
            return
        self.steps += 1
        for each in self._watched:
            parameter = each.parameter()
            if parameter is None or id(parameter) not in held or each.steps != 1:
                continue
            gradient = parameter.grad
            if gradient is None or is_unreadable(gradient) or gradient.is_sparse:
                self._release(each)
            else:
                each.stepped = thin(gradient, _COMPARED)

    def kept(self) -> tuple[bool | None, list[torch.Tensor]]:
        """Return False if some gradient was reset, else None and what else is to be read: all true says kept."""
        seen = [each for each in self._watched if each.steps > 1 and (each.reset or each.kept is not None)]
        if any(each.reset for each in seen):
            return False, []
        return None, [each.kept for each in seen]

    def _release(self, watched: _Watched) -> None:
        handle, watched.handle = watched.handle, None
        if handle is not None:
            handle.remove()

    def leave(self) -> None:
        """Take the hooks away."""
        for each in self._watched:
            self._release(each)
            parameter = each.parameter()
            if parameter is not None and each.was_bare and not parameter._backward_hooks and not is_in_backward():
                # An empty table of hooks is gone through in each backward pass all the same.
                parameter._backward_hooks = None
            each.was_bare = False


def _few(layers: Sequence[Layer]) -> Iterable[Any]:
    found = []
    for layer in layers:
        parameter = next((each for each in (ref() for ref in layer.parameters) if _is_plain(each)), None)
        if parameter is not None:
            found.append(parameter)
    every = max(1, -(-len(found) // WATCHED))
    return {id(each): each for each in [*found[::-every][:WATCHED]]}.values()


def _is_plain(parameter: Any) -> bool:
    return parameter is not None and parameter.requires_grad and parameter.is_leaf


def _torch() -> Any:
    import torch

    return torch
