"""Figures of what layers gave: of many layers at once, since a call of torch costs more than most layers' numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FIGURES = ("mean", "variance", "var_of_means", "spread", "zero_share", "dead_units", "saturation", "change")
"""Columns of a `Group`'s figures. ``spread`` is the variance over samples, each unit and position for itself."""

_BOUNDS = {"Sigmoid": (0.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softsign": (-1.0, 1.0)}
_SATURATED = 0.99


@dataclass(slots=True)
class Group:
    """Figures of layers whose outputs had the same shape."""

    names: list[str]
    samples: int
    bounded: bool
    figures: torch.Tensor
    """[layers, FIGURES]"""
    means: torch.Tensor | None
    """Mean over samples, [layers, positions, units]; kept until the next pass was compared with it."""
    compared: bool = False
    """Whether ``change`` holds a figure: there was an earlier pass to compare with."""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    correlations: torch.Tensor | None = None
    """[layers - 1], of each layer with the next of the group; only those in ``pairs`` follow each other."""


def figures_of(names: list[str], values: Any, bounds: tuple[float, float] | None, earlier: Group | None) -> Group:
    """Return the figures of ``values``, [layers, samples, positions, units]; ``bounds`` are their activation's."""
    torch = _torch()
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
    if earlier is None or earlier.means is None:
        columns.append(nothing)
    else:
        size = means.square().sum((1, 2)).sqrt().clamp_(min=1e-30)
        columns.append((means - earlier.means).square().sum((1, 2)).sqrt() / size)
    return Group(
        names, values.shape[1], bounds is not None, torch.stack(columns, 1), means, compared=earlier is not None
    )


def correlations_of(values: Any) -> Any:
    """Return the correlation of each layer of ``values`` with the next."""
    flat = values.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    size = flat.square().sum(1).sqrt()
    return (flat[:-1] * flat[1:]).sum(1) / (size[:-1] * size[1:])


def bounds_of(module: Any) -> tuple[float, float] | None:
    """Return between what an activation saturates, None for one that does not, or at zero only."""
    if hasattr(module, "min_val") and hasattr(module, "max_val"):
        # Of ReLU6, a Hardtanh, only the upper end is one; its zeros are counted as zeros.
        return None if module.min_val == 0 else (float(module.min_val), float(module.max_val))
    return _BOUNDS.get(type(module).__name__)


def _torch() -> Any:
    import torch

    return torch
