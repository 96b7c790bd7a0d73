"""Gradients and updates of one sampled step, measured where an optimizer steps."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observer_client.layout import Bank, norms_of, thin

if TYPE_CHECKING:
    import torch

MOST_COPIED = 2**21
"""Numbers of all weights together that are kept from before an update to after it: 8 MiB."""


@dataclass(slots=True)
class Reading:
    """What one sampled step says of the layers of one bank."""

    bank: Bank
    gradients: torch.Tensor
    """Norms, [layers]."""
    seen: set[str]
    """Layers that had a gradient."""
    held: set[str] = field(default_factory=set)
    """Layers of which an optimizer steps a trainable parameter; told by the first sample of a window."""
    still: set[str] = field(default_factory=set)
    """Those of them that it steps with a learning rate of zero."""
    updates: torch.Tensor | None = None
    """Size of the update over the size of the weights, [layers]."""
    updated: set[str] = field(default_factory=set)
    scaled: bool = False
    """Whether the loss scaler may yet have thrown the step away: then what is not finite says nothing."""


class GradientTap:
    """Measures what each optimizer sees: after gradient accumulation and clipping, before the update.

    An optimizer is measured once a sample, and only the parameters that it steps: what another network's loss
    left in a gradient is not counted. Nothing here waits for a device, and nothing is written to the training.
    """

    def __init__(self, banks: Sequence[Bank], with_updates: bool) -> None:
        self._banks = banks
        self._with_updates = with_updates
        self._known: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self._squares: dict[int, Any] = {}
        self._sizes: dict[int, tuple[Any, Any]] = {}
        self._seen: dict[int, set[str]] = {}
        self._held: dict[int, set[str]] = {}
        self._still: dict[int, set[str]] = {}
        self._updated: dict[int, set[str]] = {}
        self._before: dict[int, list[Any]] = {}
        self._scaled = False

    @property
    def measured(self) -> bool:
        """Whether an optimizer came by."""
        return bool(self._squares)

    def knows(self, optimizer: torch.optim.Optimizer) -> bool:
        """Say whether ``optimizer`` was measured already."""
        return optimizer in self._known

    def before(self, optimizer: torch.optim.Optimizer) -> bool:
        """Measure the gradients; return False when ``optimizer`` steps nothing of the model."""
        steps = {id(each): _is_still(group) for group in optimizer.param_groups for each in group["params"]}
        # Set while a fused optimizer unscales by itself.
        scale = getattr(optimizer, "grad_scale", None)
        ours = False
        for place, bank in enumerate(self._banks):
            parameters = [each if id(each) in steps else None for each in bank.live()]
            if any(each is not None for each in parameters):
                ours = True
                if self._with_updates:
                    self._note_holders(place, bank, steps)
                self._measure(place, bank, parameters, scale)
        if ours:
            self._known.add(optimizer)
        return ours

    def _note_holders(self, place: int, bank: Bank, steps: Mapping[int, bool]) -> None:
        held, still = self._held.setdefault(place, set()), self._still.setdefault(place, set())
        for parameter, owners in zip(bank.live(), bank.owners, strict=True):
            if parameter is not None and parameter.requires_grad and id(parameter) in steps:
                held.update(owners)
                if steps[id(parameter)]:
                    still.update(owners)

    def _measure(self, place: int, bank: Bank, parameters: Sequence[Any], scale: Any) -> None:
        gradients = [None if each is None else _gradient(each) for each in parameters]
        squares = bank.squares(gradients)
        if scale is not None:
            self._scaled = True
            squares = squares / (scale.to(bank.device) if hasattr(scale, "to") else scale) ** 2
        self._squares[place] = squares + self._squares[place] if place in self._squares else squares
        names = self._seen.setdefault(place, set())
        for owners, gradient in zip(bank.owners, gradients, strict=True):
            if gradient is not None:
                names.update(owners)
        if self._with_updates:
            most = max(64, MOST_COPIED // len(bank.parameters))
            self._before[place] = [None if each is None else thin(each, most) for each in parameters]

    def after(self) -> None:
        """Measure the update."""
        import torch  # An optimizer stepped, so torch is there.

        for place, copies in self._before.items():
            bank = self._banks[place]
            most = max(64, MOST_COPIED // len(bank.parameters))
            old = [each for each in copies if each is not None]
            new = [thin(each, most) for each, kept in zip(bank.live(), copies, strict=True) if kept is not None]
            moved = iter(torch._foreach_sub(new, old))
            moves = bank.squares([None if each is None else next(moved) for each in copies])
            sizes = bank.squares(copies)
            if place in self._sizes:
                moves, sizes = moves + self._sizes[place][0], sizes + self._sizes[place][1]
            self._sizes[place] = moves, sizes
            names = self._updated.setdefault(place, set())
            for owners, kept in zip(bank.owners, copies, strict=True):
                if kept is not None:
                    names.update(owners)
        self._before = {}

    def total(self) -> Any:
        """Return the norm of all gradients as a tensor, None when no optimizer came by."""
        sums = [each.sum() for each in self._squares.values()]
        if not sums:
            return None
        return sum(each.to(sums[0].device) for each in sums).sqrt()

    def readings(self) -> list[Reading]:
        """Return what was measured."""
        found = []
        for place, squares in self._squares.items():
            bank = self._banks[place]
            reading = Reading(bank, bank.by_layer(squares), self._seen[place])
            reading.held, reading.still = self._held.get(place, set()), self._still.get(place, set())
            reading.scaled = self._scaled
            if place in self._sizes:
                moves, sizes = (bank.by_layer(each) for each in self._sizes[place])
                # A layer that begins at nothing, as half of a low-rank adapter does, has no ratio.
                reading.updates, reading.updated = moves / sizes, self._updated[place]
            found.append(reading)
        return found


def _is_still(group: Mapping[str, Any]) -> bool:
    # A rate in a tensor may live on a device, and nothing waits here.
    rate = group.get("lr")
    return type(rate) is float and rate == 0.0


def _gradient(parameter: Any) -> Any:
    gradient = parameter.grad
    if gradient is None or hasattr(gradient, "to_local") or not gradient.numel():
        return None
    if gradient.is_sparse:
        # The same row may be in it twice.
        gradient = gradient.coalesce().values()
        return gradient.detach() if gradient.numel() else None
    return gradient.detach()


def weights_of(bank: Bank) -> tuple[torch.Tensor, dict[str, list[tuple[torch.Tensor, int]]]]:
    """Return the norm of each layer's parameters, [layers], and by layer the shares of near-zero weights.

    Near zero is a weight of at most 1/1000 of its matrix's root mean square, or 1e-12. Only matrices count:
    biases and the vectors of a normalization begin at zero or one. Each share comes with the size of its matrix.
    """
    parameters = [None if each is None else each.detach() for each in bank.live()]
    shares: dict[str, list[Any]] = {}
    most = max(1024, MOST_COPIED // len(bank.parameters))
    for parameter, owners in zip(parameters, bank.owners, strict=True):
        if parameter is not None and parameter.ndim > 1:
            some = thin(parameter, most)
            (norm,) = norms_of([some])
            limit = (norm * (1e-3 * some.numel() ** -0.5)).clamp_(min=1e-12)
            share = (some.abs_() <= limit).float().mean()
            for name in owners:
                shares.setdefault(name, []).append((share, parameter.numel()))
    return bank.by_layer(bank.squares(parameters)), shares
