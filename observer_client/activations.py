"""What the layers gave in one forward pass of a sampled step.

Forward hooks copy a small, evenly spread part of each output, at once, since the next layer may write into it;
the statistics are computed later, layers of the same shape together. Nothing is read back before the flush.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.figures import Group, bounds_of, correlations_of, figures_of
from observer_client.guard import harmless
from observer_client.histograms import counts_of
from observer_client.hooks import Hook, is_compiling, is_unreadable, tensors
from observer_client.layout import Parts

if TYPE_CHECKING:
    import torch

_SIZES = ((32, 32, 16, 128), (256, 32, 4, 64), (1024, 16, 4, 32), (2**63, 16, 2, 16))
"""Up to how many layers how many samples, positions and units of each are kept: 8 MiB for 1,000 layers."""

_FUNCTIONS: dict[str, tuple[float, float] | None] = {
    "Relu": None,
    "LeakyRelu": None,
    "Gelu": None,
    "Silu": None,
    "Elu": None,
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
}
"""Activations that are called as functions, by the names of their nodes in autograd's graph, with their bounds."""

_BETWEEN = ("normalization", "activation")
"""Layers that give nearly what they take: they correlate with their neighbors by nature."""


@dataclass(slots=True)
class _Kept:
    values: Any
    """A tensor [samples, positions, units], None while an activation is awaited."""
    whole: tuple[int, ...]
    bounds: tuple[float, float] | None = None


class ActivationTap:
    """Watches one training pass through ``model``, the first call of each layer. Takes its hooks away in `leave`.

    The activation that takes a layer's output, as a module or as a function before the next layer, counts as that
    layer's: the figures are those after it.
    Of layers that are ``followed`` by one, as an earlier pass showed, only that is copied. Passes in eval mode or
    without gradients, as a validation is, and passes that are compiled are left alone.
    """

    def __init__(
        self, model: torch.nn.Module, parts: Parts, followed: Collection[str] = (), *, with_inputs: bool
    ) -> None:
        self.spent = 0.0
        """Seconds that our hooks took."""
        self.varies: dict[str, torch.Tensor] = {}
        """Whether the first and the last sample of a layer's input differ, where that was asked for."""
        self._model = weakref.ref(model)
        self._with_inputs = with_inputs
        self.followed: set[str] = set()
        """Layers whose output an activation module took."""
        self._awaited = followed
        layers = parts.layers
        self._limits = next(rest for most, *rest in _SIZES if len(layers) <= most)
        self._kept: dict[str, _Kept] = {}
        self._silent = {layer.name for layer in layers}
        self._categories = {layer.name: layer.category for layer in layers}
        self._makers: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._nodes: dict[int, str] = {}
        """Layers by the number of the node that their output has in autograd's graph, which is not kept alive."""
        self._handles: list[Any] = []
        self._is_awake = True
        for layer in layers:
            if (module := layer.module()) is not None:
                self._handles.append(module.register_forward_hook(Hook(partial(self._ran, layer.name))))
        activation_hook = Hook(self._activation_hook)
        for reference in parts.activations:
            if (module := reference()) is not None:
                self._handles.append(module.register_forward_hook(activation_hook))

    @harmless
    def _ran(self, name: str, module: object, inputs: Any, output: Any) -> None:
        if not self._is_awake or is_compiling():
            return
        self._silent.discard(name)
        if name not in self._kept and self._is_training():
            began = perf_counter()
            self._keep(name, inputs, output)
            self.spent += perf_counter() - began

    def _is_training(self) -> bool:
        torch = _torch()
        model = self._model()
        return model is not None and model.training and torch.is_grad_enabled() and not torch.jit.is_tracing()

    def _keep(self, name: str, inputs: Any, output: Any) -> None:
        made = next((each for each in tensors(output) if each.is_floating_point()), None)
        if made is None or not made.numel() or is_unreadable(made):
            return
        part = None if name in self._awaited else self._part(made, name)
        self._kept[name] = _Kept(part, tuple(made.shape))
        self._makers[id(made)] = weakref.ref(made), name
        given = tensors(inputs)[:1]
        if given and given[0].grad_fn is not None:
            self._look_back(given[0])
        if made.grad_fn is not None:
            self._nodes[made.grad_fn._sequence_nr()] = name
        if self._with_inputs and given and given[0].ndim and not is_unreadable(given[0]):
            first = _samples_first(given[0].detach())
            self.varies[name] = (first[0] != first[-1]).any()

    def _look_back(self, given: Any) -> None:
        """Find the layer whose output became ``given`` by a function."""
        node = given.grad_fn
        if node.name().startswith("MaxPool"):
            # A unit that gives nothing but zeros still does when only the largest are passed on.
            node = node.next_functions[0][0]
        kind = node.name().partition("Backward")[0] if node is not None else ""
        if kind not in _FUNCTIONS or (parent := node.next_functions[0][0]) is None:
            return
        name = self._nodes.pop(parent._sequence_nr(), None)
        if name is not None and name not in self.followed and name in self._kept:
            self._kept[name] = _Kept(self._part(given, name), tuple(given.shape), _FUNCTIONS[kind])
            self.followed.add(name)

    @harmless
    def _activation_hook(self, module: Any, inputs: Any, output: Any) -> None:
        # Nothing is kept of a pass that is not training, so there is nothing to find either.
        if not self._makers or is_compiling() or not isinstance(inputs, tuple) or not inputs:
            return
        began = perf_counter()
        given = inputs[0]
        reference, name = self._makers.pop(id(given), (None, ""))
        # An id is used again once its tensor is gone.
        made = None if reference is None else reference()
        if made is not None and made is given and getattr(output, "shape", None) == made.shape:
            self._kept[name] = _Kept(self._part(output, name), tuple(output.shape), bounds_of(module))
            self.followed.add(name)
        self.spent += perf_counter() - began

    def _part(self, tensor: Any, name: str) -> Any:
        """Return a float32 copy of part of ``tensor``: [samples, positions, units]."""
        tensor = _samples_first(tensor.detach())
        samples, positions, units = self._limits
        if tensor.ndim == 2:
            # The ordinary case, in few calls: the training waits for this.
            height, width = tensor.shape
            if height > samples or width > units:
                tensor = tensor[:: -(-height // samples), :: -(-width // units)]
            return tensor.unsqueeze(1).to(_torch().float32, copy=True)
        if tensor.ndim < 2:
            tensor = tensor.reshape(-1, 1)
        if tensor.ndim > 2 and self._channels_second(name, tensor):
            tensor = tensor.movedim(1, -1)
        between = tensor.ndim - 2
        side = max(1, int(positions ** (1 / between) + 1e-9)) if between else 1
        limits = (samples, *[side] * between, units)
        tensor = tensor[
            tuple(slice(None, None, -(-size // most)) for size, most in zip(tensor.shape, limits, strict=True))
        ]
        tensor = tensor.to(_torch().float32, copy=True)
        return tensor.reshape(tensor.shape[0], -1, tensor.shape[-1])

    def _channels_second(self, name: str, tensor: Any) -> bool:
        kind = self._categories[name]
        # Of the normalizations those of images have the channels second, LayerNorm has them last.
        return kind == "convolution" or (kind == "normalization" and tensor.ndim > 3)

    @property
    def is_bypassed(self) -> bool:
        """Whether layers ran without their hooks, in compiled code: each hook would make it compile again."""
        dynamo = sys.modules.get("torch._dynamo.utils")
        return bool(self._silent and dynamo is not None and dynamo.counters["stats"])

    def rest(self) -> None:
        """Watch no more until `again`, and leave the hooks where they are."""
        self._is_awake = False
        self._makers.clear()
        self._nodes.clear()

    def again(self, followed: Collection[str], *, with_inputs: bool) -> None:
        """Watch the next pass, as a new tap would."""
        self.spent, self.varies, self.followed, self._kept = 0.0, {}, set(), {}
        self._awaited, self._with_inputs, self._silent = followed, with_inputs, set(self._categories)
        self._is_awake = True

    def leave(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._makers.clear()
        self._nodes.clear()

    def histograms(self) -> dict[str, Any]:
        """Return how large the outputs are, by layer; to be asked before `groups`, which lets go of them."""
        kept = {name: each.values for name, each in self._kept.items() if each.values is not None}
        return {name: counts_of(values.reshape(1, -1))[0] for name, values in kept.items()}

    def groups(self, earlier: dict[Any, Group], *, with_correlations: bool) -> dict[Any, Group]:
        """Return the figures, by shape; ``earlier`` is what an earlier pass gave."""
        members: dict[Any, list[str]] = {}
        for name, kept in self._kept.items():
            if kept.values is None:
                continue
            between = self._categories[name] in _BETWEEN
            members.setdefault((kept.values.shape, kept.values.device, kept.bounds, between), []).append(name)
        found = {}
        for (shape, device, bounds, between), names in members.items():
            key = (shape[1:], device, bounds, tuple(names))
            values = _torch().stack([self._kept[name].values for name in names])
            group = found[key] = figures_of(names, values, bounds, earlier.get(key))
            if with_correlations and len(names) > 1 and not between:
                group.pairs = self._neighbors(names)
                group.correlations = correlations_of(values) if group.pairs else None
        self._kept.clear()
        return found

    def _neighbors(self, names: list[str]) -> list[tuple[str, str]]:
        order = [name for name in self._kept if self._categories[name] not in _BETWEEN]
        following = dict(zip(order, order[1:], strict=False))
        return [
            (a, b)
            for a, b in zip(names, names[1:], strict=False)
            if following.get(a) == b and self._kept[a].whole == self._kept[b].whole
        ]


def _samples_first(tensor: Any) -> Any:
    # Of a batch of one sequence the positions are the samples.
    return tensor[0] if tensor.ndim == 3 and tensor.shape[0] == 1 else tensor


def _torch() -> Any:
    import torch

    return torch
