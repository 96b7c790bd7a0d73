"""The architecture of a model, read off its modules without running it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from observer_client.record import Architecture, LayerGraph, LayerInfo, LayerNode

if TYPE_CHECKING:
    import torch

ROOT = "(model)"
"""Name of the model itself where it owns parameters."""

_BY_NAME = (
    ("attention", ("Attention",)),
    ("convolution", ("Conv",)),
    ("pooling", ("Pool",)),
    ("normalization", ("Norm",)),
    ("dropout", ("Dropout", "DropPath", "StochasticDepth")),
    ("embedding", ("Embedding",)),
    ("recurrent", ("RNN", "LSTM", "GRU")),
    ("linear", ("Linear",)),
)
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "in_channels": ("in_channels",),
    "out_channels": ("out_channels",),
    "kernel_size": ("kernel_size",),
    "stride": ("stride",),
    "padding": ("padding",),
    "groups": ("groups",),
    "in_features": ("in_features",),
    "out_features": ("out_features",),
    "num_embeddings": ("num_embeddings",),
    "embedding_dim": ("embedding_dim",),
    "embed_dim": (
        "embed_dim",
        "n_embd",
        "d_model",
    ),
    "num_heads": (
        "num_heads",
        "n_head",
        "n_heads",
        "num_attention_heads",
    ),
    "input_size": ("input_size",),
    "hidden_size": ("hidden_size",),
    "num_layers": ("num_layers",),
    "bidirectional": ("bidirectional",),
}
"""What a node tells, and the names under which modules keep it."""


def architecture(model: torch.nn.Module) -> Architecture:
    """Return layers, sizes and graph nodes of ``model``; what only a forward pass shows stays empty."""
    model = getattr(model, "_orig_mod", model)
    parameters = [each for each in model.parameters() if _is_there(each)]
    total = sum(each.numel() for each in parameters)
    found = Architecture(
        model_class=type(model).__name__,
        total_parameters=total,
        trainable_parameters=sum(each.numel() for each in parameters if each.requires_grad),
        layer_graph=LayerGraph(nodes=[_node(name, module) for name, module in layers_of(model)]),
    )
    counted: set[int] = set()
    for name, module in model.named_modules():
        own = [each for each in module.parameters(recurse=False) if _is_there(each)]
        if own:
            # Tied weights belong to the layer that has them first.
            size = sum(each.numel() for each in own if id(each) not in counted)
            counted.update(map(id, own))
            found.layers[name or ROOT] = LayerInfo(
                type=type(module).__name__,
                parameters=size,
                pct_of_total=100.0 * size / total if total else None,
                trainable=any(each.requires_grad for each in own),
            )
    return found


def layers_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the layers of ``model`` by name: attention, modules without parts, modules with parameters of their own."""
    whole: list[str] = []
    for name, module in model.named_modules():
        if name.startswith(tuple(whole)):
            continue
        kind = category(module)
        if kind == "attention" and _torch_names(module):
            # PyTorch's own attention never calls its parts.
            whole.append(f"{name}.")
        parts = any(True for _ in module.children())
        if kind == "attention" or not parts or any(True for _ in module.parameters(recurse=False)):
            yield name or ROOT, module


def category(module: torch.nn.Module) -> str:
    """Return the category of a module, one of those that `LayerNode` lists."""
    known = _torch_names(module)
    parts = any(True for _ in module.children())
    for name in known or [type(module).__name__]:
        for found, words in _BY_NAME:
            # Of one's own classes with parts, a name like ConvBlock says little about the block itself.
            if any(word in name for word in words) and (known or not parts or found == "attention"):
                return found
    if any(each.__module__ == "torch.nn.modules.activation" for each in type(module).__mro__):
        return "activation"
    return "container" if parts else "other"


def _torch_names(module: torch.nn.Module) -> list[str]:
    """Return the names of PyTorch's own layers that the module is or descends from."""
    own = ("torch.nn.modules.container", "torch.nn.modules.module", "torch.nn.modules.transformer")
    return [
        kind.__name__
        for kind in type(module).__mro__
        if kind.__module__.startswith("torch.nn.modules.") and kind.__module__ not in own
    ]


def _node(name: str, module: torch.nn.Module) -> LayerNode:
    node = LayerNode(id=name, type=type(module).__name__, category=category(module))
    for attribute, names in _ATTRIBUTES.items():
        value = next((found for each in names if (found := _attribute(module, each)) is not None), None)
        if value is not None:
            setattr(node, attribute, value)
    return node


def _attribute(module: torch.nn.Module, name: str) -> Any:
    value = getattr(module, name, None)
    if isinstance(value, tuple) and all(isinstance(each, int) for each in value):
        return list(value)
    return value if isinstance(value, (int, str)) else None


def _is_there(parameter: torch.nn.Parameter) -> bool:
    # A lazy layer has no size before its first forward pass.
    return not type(parameter).__name__.startswith("Uninitialized")
