"""How widely each attention head looks: the entropy of its weights, in one sampled pass."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

from observer_client.architecture import ROOT
from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiling
from observer_client.record import LayerStats

if TYPE_CHECKING:
    import torch

SEQUENCES, QUERIES = 2, 64
"""Sequences of a batch, and queries of each, that are looked at."""
_EPSILON = 1e-30


class AttentionTap:
    """Listens for the functions that attention is made of while one pass runs through ``model``.

    These are `scaled_dot_product_attention`, the function behind `torch.nn.MultiheadAttention`, and a softmax over
    four dimensions, as in attention that is written out. The module that calls one is the layer it counts for. The
    functions are called as they would be, and their results passed on untouched.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.entropies: dict[str, torch.Tensor] = {}
        """By layer: one number a head, 0 (always one key) to 1 (all keys alike)."""
        self._model = weakref.ref(model)
        self._running: list[str] = []
        self._mode: Any = None
        self._handles: list[Any] = []
        for name, module in model.named_modules():
            if name and (any(True for _ in module.children()) or "Attention" in type(module).__name__):
                self._handles.append(module.register_forward_pre_hook(Hook(self._entered(name))))
                self._handles.append(module.register_forward_hook(Hook(self._left), always_call=True))
        self._handles.append(model.register_forward_pre_hook(Hook(self._begin)))
        self._handles.append(model.register_forward_hook(Hook(self._end), always_call=True))

    def _entered(self, name: str) -> Any:
        def enter(module: object, inputs: object) -> None:
            self._running.append(name)

        return enter

    def _left(self, *unused: object) -> None:
        if self._running:
            self._running.pop()

    @harmless
    def _begin(self, module: Any, inputs: object) -> None:
        torch = _torch()
        if self._mode is None and module.training and torch.is_grad_enabled() and not is_compiling():
            self._running = []
            mode = _listening(self)
            mode.__enter__()
            self._mode = mode

    def _end(self, *unused: object) -> None:
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.__exit__(None, None, None)

    @harmless
    def heard(self, name: str, arguments: Any, keywords: Any, result: Any, function: Any) -> None:
        """Take note of a call of the function called ``name``."""
        layer = self._running[-1] if self._running else ROOT
        if layer in self.entropies:
            return
        with _torch().no_grad():
            weights = _READERS[name](arguments, keywords, result, function)
            if weights is not None and weights.shape[-1] > 1:
                self.entropies[layer] = head_entropies(weights)

    def leave(self) -> None:
        """Take everything out of the model."""
        self._end()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _listening(tap: AttentionTap) -> Any:
    from torch.overrides import TorchFunctionMode

    class Listening(TorchFunctionMode):  # type: ignore[misc]  # torch comes without types here.
        def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
            result = function(*arguments, **(keywords or {}))
            name = getattr(function, "__name__", "")
            if name in _READERS:
                tap.heard(name, arguments, keywords or {}, result, function)
            return result

    return Listening()


def _of_softmax(arguments: Any, keywords: Any, result: Any, function: Any) -> Any:
    return _some(result) if result.ndim == 4 else None


def _of_product(arguments: Any, keywords: Any, result: Any, function: Any) -> Any:
    torch = _torch()
    given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), arguments, strict=False))
    given |= keywords
    query, key, mask = given["query"], given["key"], given.get("attn_mask")
    if query.ndim != 4 or query.is_nested or query.shape[-2] == 0:
        return None
    rows = slice(None, None, -(-query.shape[-2] // QUERIES))
    scale = given.get("scale") or query.shape[-1] ** -0.5
    asked, keys = query[:SEQUENCES, :, rows].float(), key[:SEQUENCES].float()
    if keys.shape[1] != asked.shape[1]:
        keys = keys.repeat_interleave(asked.shape[1] // keys.shape[1], 1)
    scores = asked @ keys.transpose(-1, -2) * scale
    if given.get("is_causal"):
        causal = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        scores = scores.masked_fill(~causal[rows], -math.inf)
    if mask is not None:
        mask = mask.expand(*query.shape[:3], key.shape[-2])[:SEQUENCES, :, rows]
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def _of_multi_head(arguments: Any, keywords: Any, result: Any, function: Any) -> Any:
    """Ask for the weights of a few sequences again: usually they are not computed, and never by head."""
    query, key, value, *rest = arguments
    if query.ndim != 3:
        return None
    heads, some = rest[1], slice(None, SEQUENCES)
    asked = {**keywords, "training": False, "need_weights": True, "average_attn_weights": False}
    if (padding := asked.get("key_padding_mask")) is not None:
        asked["key_padding_mask"] = padding[some]
    if (mask := asked.get("attn_mask")) is not None and mask.ndim == 3:
        asked["attn_mask"] = mask[: SEQUENCES * heads]
    # Causal attention without weights may come as a hint alone; with weights the mask itself is used.
    asked["is_causal"] = asked.get("is_causal", False) and mask is not None
    if mask is None and keywords.get("is_causal"):
        return None
    _, weights = function(query[:, some], key[:, some], value[:, some], *rest, **asked)
    return _some(weights)


_READERS: dict[str, Any] = {
    "softmax": _of_softmax,
    "scaled_dot_product_attention": _of_product,
    "multi_head_attention_forward": _of_multi_head,
}


def _some(weights: Any) -> Any:
    return weights[:SEQUENCES, :, :: max(1, -(-weights.shape[2] // QUERIES))].float()


def head_entropies(weights: Any) -> Any:
    """Return the mean entropy of each head, [heads], of ``weights``, [sequences, heads, queries, keys].

    The entropy of a query is divided by the logarithm of the number of keys that it may see, which are those that
    any head of the same sequence gives weight to. Queries that see a single key say nothing.
    """
    entropy = -(weights * (weights + _EPSILON).log()).sum(-1)
    keys = (weights > 0).any(1, keepdim=True).sum(-1)
    known = (keys > 1).float()
    parts = (entropy / keys.clamp(min=2).log() * known).nansum((0, 2))
    return (parts / known.sum((0, 2)).clamp(min=1)).clamp(0, 1)


def fill_entropies(layers: dict[str, LayerStats], entropies: dict[str, Any]) -> None:
    """Write entropies to the layers' statistics. Waits for the devices."""
    for name, heads in entropies.items():
        values = heads.tolist()
        stats = layers.setdefault(name, LayerStats())
        stats.attention_entropy = sum(values) / len(values)
        stats.attention_entropy_min, stats.attention_entropy_max = min(values), max(values)


def _torch() -> Any:
    import torch

    return torch
