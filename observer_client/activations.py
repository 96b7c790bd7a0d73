"""What the layers gave in one forward pass of a sampled step.

Forward hooks copy a small, evenly spread part of each output, at once, since the next layer may write into it;
the statistics are computed later, layers of the same shape together. Nothing is read back before the flush.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.architecture import category
from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiling, tensors
from observer_client.layout import Layer

if TYPE_CHECKING:
    import torch

_SIZES = ((32, 32, 16, 128), (256, 32, 4, 64), (1024, 16, 4, 32), (2**63, 16, 2, 16))
"""Up to how many layers how many samples, positions and units of each are kept: 8 MiB for 1,000 layers."""

FIGURES = ("mean", "variance", "var_of_means", "spread", "zero_share", "dead_units", "saturation", "change")
"""Columns of a `Group`'s figures. ``spread`` is the variance over samples, each unit and position for itself."""

_BOUNDS = {"Sigmoid": (0.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softsign": (-1.0, 1.0)}
_SATURATED = 0.99
_BETWEEN = ("normalization", "activation")
"""Layers that give nearly what they take: they correlate with their neighbors by nature."""


@dataclass(slots=True)
class Group:
    """Figures of layers whose outputs had the same shape."""

    names: list[str]
    samples: int
    bounded: bool
    figures: torch.Tensor
    """[layers, FIGURES]"""
    means: torch.Tensor
    """Mean over samples, [layers, positions, units]."""
    compared: bool = False
    """Whether ``change`` holds a figure: there was an earlier pass to compare with."""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    correlations: torch.Tensor | None = None
    """[layers - 1], of each layer with the next of the group; only those in ``pairs`` follow each other."""


@dataclass(slots=True)
class _Kept:
    values: torch.Tensor
    whole: tuple[int, ...]
    bounds: tuple[float, float] | None = None


class ActivationTap:
    """Watches one training pass through ``model``, the first call of each layer. Takes its hooks away in `leave`.

    The activation module that takes a layer's output counts as that layer's: the figures are those after it.
    Passes in eval mode or without gradients, as a validation is, and passes that are compiled are left alone.
    """

    def __init__(self, model: torch.nn.Module, layers: Sequence[Layer], *, with_inputs: bool) -> None:
        self.spent = 0.0
        """Seconds that our hooks took."""
        self.varies: dict[str, torch.Tensor] = {}
        """Whether the first and the last sample of a layer's input differ, where that was asked for."""
        self._model = weakref.ref(model)
        self._with_inputs = with_inputs
        self._limits = next(rest for most, *rest in _SIZES if len(layers) <= most)
        self._kept: dict[str, _Kept] = {}
        self._silent = {layer.name for layer in layers}
        self._categories = {layer.name: layer.category for layer in layers}
        self._makers: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._handles: list[Any] = []
        for layer in layers:
            if (module := layer.module()) is not None:
                self._handles.append(module.register_forward_hook(Hook(self._layer_hook(layer.name))))
        for module in model.modules():
            if category(module) == "activation" and not any(True for _ in module.parameters(recurse=False)):
                self._handles.append(module.register_forward_hook(Hook(self._activation_hook)))

    def _layer_hook(self, name: str) -> Any:
        @harmless
        def ran(module: object, inputs: Any, output: Any) -> None:
            if is_compiling():
                return
            self._silent.discard(name)
            if name not in self._kept and self._is_training():
                began = perf_counter()
                self._keep(name, inputs, output)
                self.spent += perf_counter() - began

        return ran

    def _is_training(self) -> bool:
        torch = _torch()
        model = self._model()
        return model is not None and model.training and torch.is_grad_enabled() and not torch.jit.is_tracing()

    def _keep(self, name: str, inputs: Any, output: Any) -> None:
        made = next((each for each in tensors(output) if each.is_floating_point()), None)
        if made is None or not made.numel() or _is_unreadable(made):
            return
        self._kept[name] = _Kept(self._part(made, name), tuple(made.shape))
        self._makers[id(made)] = weakref.ref(made), name
        given = tensors(inputs)[:1]
        if self._with_inputs and given and given[0].ndim and not _is_unreadable(given[0]):
            first = _samples_first(given[0].detach())
            self.varies[name] = (first[0] != first[-1]).any()

    @harmless
    def _activation_hook(self, module: Any, inputs: Any, output: Any) -> None:
        # Nothing is kept of a pass that is not training, so there is nothing to find either.
        if is_compiling() or not self._makers or not isinstance(inputs, tuple) or not inputs:
            return
        began = perf_counter()
        given = inputs[0]
        reference, name = self._makers.pop(id(given), (None, ""))
        # An id is used again once its tensor is gone.
        made = None if reference is None else reference()
        if made is not None and made is given and getattr(output, "shape", None) == made.shape:
            self._kept[name] = _Kept(self._part(output, name), tuple(output.shape), _bounds(module))
        self.spent += perf_counter() - began

    def _part(self, tensor: Any, name: str) -> Any:
        """Return a float32 copy of part of ``tensor``: [samples, positions, units]."""
        tensor = _samples_first(tensor.detach())
        samples, positions, units = self._limits
        if tensor.ndim == 2 and tensor.shape[0] <= samples and tensor.shape[1] <= units:
            return tensor.to(_torch().float32, copy=True).unsqueeze(1)
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

    def leave(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._makers.clear()

    def groups(self, earlier: dict[Any, Group], *, with_correlations: bool) -> dict[Any, Group]:
        """Return the figures, by shape; ``earlier`` is what an earlier pass gave."""
        members: dict[Any, list[str]] = {}
        for name, kept in self._kept.items():
            between = self._categories[name] in _BETWEEN
            members.setdefault((kept.values.shape, kept.values.device, kept.bounds, between), []).append(name)
        found = {}
        for (shape, device, bounds, between), names in members.items():
            key = (shape[1:], device, bounds, tuple(names))
            values = _torch().stack([self._kept[name].values for name in names])
            group = found[key] = _figures(names, values, bounds, earlier.get(key))
            if with_correlations and len(names) > 1 and not between:
                group.pairs = self._neighbors(names)
                group.correlations = _correlations(values) if group.pairs else None
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


def _figures(names: list[str], values: Any, bounds: tuple[float, float] | None, earlier: Group | None) -> Group:
    torch = _torch()
    # [layers, samples, positions, units]
    every = (1, 2, 3)
    variances, means = torch.var_mean(values, dim=1, correction=0)
    spread = variances.mean((1, 2))
    zeros = values == 0
    columns = [
        means.mean((1, 2)),
        # The variance within units and that between them.
        spread + means.var((1, 2), correction=0),
        values.mean((2, 3)).var(1, correction=0),
        spread,
        zeros.mean(every, dtype=torch.float32),
        zeros.all(1).all(1).mean(1, dtype=torch.float32),
    ]
    nothing = columns[0] * 0
    if bounds is None:
        columns.append(nothing)
    else:
        low, high = bounds
        reach = (values - (low + high) / 2).abs() > _SATURATED * (high - low) / 2
        columns.append(reach.mean(every, dtype=torch.float32))
    if earlier is None:
        columns.append(nothing)
    else:
        size = means.square().sum((1, 2)).sqrt().clamp_(min=1e-30)
        columns.append((means - earlier.means).square().sum((1, 2)).sqrt() / size)
    return Group(
        names, values.shape[1], bounds is not None, torch.stack(columns, 1), means, compared=earlier is not None
    )


def _correlations(values: Any) -> Any:
    flat = values.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    size = flat.square().sum(1).sqrt()
    return (flat[:-1] * flat[1:]).sum(1) / (size[:-1] * size[1:])


def _bounds(module: Any) -> tuple[float, float] | None:
    if hasattr(module, "min_val") and hasattr(module, "max_val"):
        # Of ReLU6, a Hardtanh, only the upper end is one; its zeros are counted as zeros.
        return None if module.min_val == 0 else (float(module.min_val), float(module.max_val))
    return _BOUNDS.get(type(module).__name__)


def _samples_first(tensor: Any) -> Any:
    # Of a batch of one sequence the positions are the samples.
    return tensor[0] if tensor.ndim == 3 and tensor.shape[0] == 1 else tensor


def _is_unreadable(tensor: Any) -> bool:
    torch = _torch()
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or hasattr(tensor, "to_local") or tensor.is_meta:
        return True
    # Whatever runs while a CUDA graph is captured runs again with it each time.
    return bool(tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def _torch() -> Any:
    import torch

    return torch
