"""Checksums of a model's parameters: two ranks that hold the same model have the same, to the bit."""

from __future__ import annotations

import hashlib
from typing import Any

MOST_TENSORS = 1000
MOST_NUMBERS = 65_536
"""Of one tensor; of a larger one every so many-th number counts."""
_SHARDED = frozenset({"FullyShardedDataParallel", "FSDPModule", "PipelineStage"})
_MANAGED = "_is_fsdp_managed_module"
"""What PyTorch marks the modules inside of FullyShardedDataParallel by: they do not know their wrapper."""
_WHOLE_WORDS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def replicated(model: Any) -> dict[str, Any]:
    """Return the parameters of which every rank of a data parallel training holds the same: trained, and not spread.

    A model that is sharded (FSDP, ZeRO, tensor parallel) has none.
    """
    if any(type(module).__name__ in _SHARDED or hasattr(module, _MANAGED) for module in model.modules()):
        return {}
    own = set(getattr(model, "_ddp_params_and_buffers_to_ignore", ()))
    found = {}
    for name, weight in model.named_parameters():
        if hasattr(weight, "to_local") or hasattr(weight, "ds_id") or getattr(weight, "tensor_model_parallel", False):
            return {}
        # Experts of a mixture belong to one rank each, which libraries mark so.
        mine = name in own or getattr(weight, "allreduce", True) is False or weight.is_meta or not weight.numel()
        if weight.requires_grad and not mine:
            found[name] = weight
        if len(found) == MOST_TENSORS:
            break
    return found


def signature(weights: dict[str, Any]) -> str:
    """Return a text that is equal for models whose parameters have the same names, shapes and kinds."""
    told = [(name, list(weight.shape), str(weight.dtype)) for name, weight in weights.items()]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def checksums(weights: dict[str, Any]) -> list[int]:
    """Return the sum over the bits of each parameter. Whole numbers: no order of summation changes them.

    Waits for each device, once.
    """
    import torch  # There are parameters, so it is there.

    sums: dict[Any, list[tuple[int, Any]]] = {}
    with torch.no_grad():
        for place, weight in enumerate(weights.values()):
            numbers = weight.detach().reshape(-1)
            numbers = numbers[:: -(-numbers.numel() // MOST_NUMBERS)].contiguous()
            words = torch.view_as_real(numbers) if numbers.is_complex() else numbers
            words = words.view(getattr(torch, _WHOLE_WORDS[words.element_size()]))
            sums.setdefault(words.device, []).append((place, words.sum(dtype=torch.int64)))
    found = [0] * len(weights)
    for each in sums.values():
        for (place, _), value in zip(each, torch.stack([total for _, total in each]).tolist(), strict=True):
            found[place] = value
    return found
