"""Which layers a model has and where their parameters lie. Holds neither alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observer_client.architecture import ROOT, category

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Layer:
    """A module with parameters of its own."""

    name: str
    module: weakref.ref[torch.nn.Module]
    category: str
    trainable: bool
    parameters: list[weakref.ref[torch.nn.Parameter]] = field(default_factory=list)


@dataclass(slots=True)
class Parts:
    """What is watched of a model: layers with parameters, and activation modules without."""

    layers: list[Layer] = field(default_factory=list)
    activations: list[weakref.ref[torch.nn.Module]] = field(default_factory=list)


def parts_of(model: torch.nn.Module) -> Parts:
    """Return the parts of ``model``, layers named as in its architecture."""
    model = getattr(model, "_orig_mod", model)
    found = Parts()
    for name, module in model.named_modules():
        own, kind = list(module.parameters(recurse=False)), category(module)
        if own:
            layer = Layer(name or ROOT, weakref.ref(module), kind, any(each.requires_grad for each in own))
            layer.parameters = [weakref.ref(each) for each in own if _is_whole(each)]
            found.layers.append(layer)
        elif kind == "activation":
            found.activations.append(weakref.ref(module))
    return found


def _is_whole(parameter: Any) -> bool:
    # A lazy layer has no numbers yet, quantized ones have no norm, and to measure one that is spread over several
    # processes all of them would have to take part.
    return (
        not type(parameter).__name__.startswith("Uninitialized")
        and not hasattr(parameter, "to_local")
        and not parameter.is_meta
        and parameter.is_floating_point()
        and parameter.numel() > 0
    )


class Bank:
    """The parameters on one device, in a fixed order, and the layers that they belong to.

    Tied parameters are measured once and belong to each of their layers.
    """

    def __init__(self, device: Any, members: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
        import torch  # The parameters are torch's, so it is there.

        places: dict[int, int] = {}
        rows: dict[str, int] = {}
        pairs: list[tuple[int, int]] = []
        self.parameters: list[weakref.ref[torch.nn.Parameter]] = []
        for name, parameter in members:
            place = places.setdefault(id(parameter), len(places))
            if place == len(self.parameters):
                self.parameters.append(weakref.ref(parameter))
            pairs.append((place, rows.setdefault(name, len(rows))))
        self.device = device
        self.names = list(rows)
        self.owners: list[list[str]] = [[] for _ in self.parameters]
        for place, row in pairs:
            self.owners[place].append(self.names[row])
        # Made here, where waiting is allowed, and not at a step: the way to a device is a wait.
        self._places = torch.tensor([place for place, _ in pairs], device=device)
        self._rows = torch.tensor([row for _, row in pairs], device=device)
        self.nothing = torch.zeros((), device=device)
        """A zero."""

    def live(self) -> list[torch.nn.Parameter | None]:
        """Return the parameters, None for one that is gone."""
        return [reference() for reference in self.parameters]

    def squares(self, tensors: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Return the squared L2 norm of each of ``tensors``, [parameters]; None counts 0."""
        norms = iter(norms_of([each for each in tensors if each is not None]))
        stacked = _torch().stack([self.nothing if each is None else next(norms) for each in tensors])
        return stacked * stacked

    def by_layer(self, squares: torch.Tensor) -> torch.Tensor:
        """Return the norm of each layer, [layers], of the squares of its parameters."""
        return self.sums(squares).sqrt_()

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of each layer, [layers], of what belongs to its parameters, [parameters]."""
        return values.new_zeros(len(self.names)).index_add_(0, self._rows, values.index_select(0, self._places))


def banks(layers: Sequence[Layer]) -> list[Bank]:
    """Return the parameters of all ``layers``, one bank a device."""
    by_device: dict[Any, list[tuple[str, Any]]] = {}
    for layer in layers:
        for reference in layer.parameters:
            if (parameter := reference()) is not None:
                by_device.setdefault(parameter.device, []).append((layer.name, parameter))
    return [Bank(device, members) for device, members in by_device.items()]


def norms_of(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the L2 norms, each a float32 tensor without dimensions, in few calls and without waiting."""
    torch = _torch()
    places: dict[Any, list[int]] = {}
    for place, tensor in enumerate(tensors):
        places.setdefault(tensor.dtype, []).append(place)
    found: list[Any] = [None] * len(tensors)
    for dtype, group in places.items():
        # The square of a half overflows at 256.
        wide = torch.float32 if dtype in (torch.float16, torch.bfloat16) else None
        for place, norm in zip(group, torch._foreach_norm([tensors[each] for each in group], 2, wide), strict=True):
            found[place] = norm if norm.dtype == torch.float32 else norm.float()
    return found


def thin(tensor: torch.Tensor, most: int) -> torch.Tensor:
    """Return a copy of at most ``most`` numbers of ``tensor``, evenly spread, as float32 [numbers]."""
    torch = _torch()
    flat = tensor.detach().reshape(-1)
    every = -(-flat.numel() // most)
    return (flat[::every] if every > 1 else flat).to(torch.float32, copy=True)


def _torch() -> Any:
    import torch

    return torch
