"""How large the numbers of a tensor are: counts by magnitude, in bins that are the same everywhere and always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from observer_client.layout import Bank, thin
from observer_client.record import HISTOGRAM_EDGES

if TYPE_CHECKING:
    import torch

MOST = 2**14
"""Numbers of one tensor that are counted, evenly spread."""


def counts_of(values: Any) -> torch.Tensor:
    """Return how many of ``values``, [layers, numbers], are of which magnitude: [layers, bins]. Waits for no device."""
    import torch  # There are tensors, so it is there.

    bins = len(HISTOGRAM_EDGES) + 1
    edges = torch.tensor(HISTOGRAM_EDGES, dtype=torch.float32).to(values.device, non_blocking=True)
    places = torch.bucketize(values.abs().contiguous(), edges, right=True)
    places += torch.arange(len(values), device=values.device).unsqueeze(1) * bins
    ones = torch.ones(places.numel(), device=values.device)
    return ones.new_zeros(len(values) * bins).index_add_(0, places.flatten(), ones).view(len(values), bins)


def gradient_counts(banks: Sequence[Bank], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the counts of the gradients that ``optimizer`` steps with, by layer."""
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    found: dict[str, Any] = {}
    for bank in banks:
        for parameter, owners in zip(bank.live(), bank.owners, strict=True):
            gradient = None if parameter is None or id(parameter) not in held else parameter.grad
            if gradient is None or gradient.is_sparse or hasattr(gradient, "to_local"):
                continue
            (counts,) = counts_of(thin(gradient, MOST).unsqueeze(0))
            for name in owners:
                found[name] = found[name] + counts if name in found else counts
    return found


def as_lists(counts: dict[str, Any]) -> dict[str, list[int]]:
    """Return counts as whole numbers. Waits for the devices."""
    return {name: [int(each) for each in values.tolist()] for name, values in counts.items()}
