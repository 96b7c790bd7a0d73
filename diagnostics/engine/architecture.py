"""The network as the checks see it: layers in the order of execution, with kinds, sizes and shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from diagnostics.engine.reading import entries, get, integer, number, pairs
from observer_client.record import Architecture, LayerGraph, LayerInfo, LayerNode

_TEXTS = {"id", "type", "category"}
_KINDS = (
    ("attention", re.compile(r"attention|attn|^mha$|transformer(en|de)coderlayer", re.IGNORECASE)),
    ("recurrent", re.compile(r"lstm|gru|(^|[^a-z])rnn|RNN", re.IGNORECASE)),
    ("pooling", re.compile(r"pool", re.IGNORECASE)),
    # Not Conv1D: that is what Hugging Face calls a Linear layer with its weight transposed.
    ("convolution", re.compile(r"(?!conv1D$)(?:Lazy)?conv", re.IGNORECASE)),
    ("normalization", re.compile(r"norm|^bn\d*$|^ln\d*$", re.IGNORECASE)),
    ("embedding", re.compile(r"embed", re.IGNORECASE)),
    ("linear", re.compile(r"linear|^fc\d*$|conv1D$|^head$|classifier", re.IGNORECASE)),
    ("dropout", re.compile(r"drop", re.IGNORECASE)),
    ("activation", re.compile(r"relu|gelu|silu|tanh|sigmoid|softmax|elu$|mish|^act", re.IGNORECASE)),
)
_ATTENTION_ID = re.compile(r"(^|[._])(self_?attn|self_?attention|attn|attention|mha|multihead_attn)([._]|$)")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. ``share`` is its part of all parameters (0 to 1), None if unknown. Sizes are () if unknown."""

    id: str
    type: str
    category: str
    parameters: int
    share: float | None
    in_channels: int | None = None
    out_channels: int | None = None
    in_features: int | None = None
    out_features: int | None = None
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    trainable: bool | None = None
    node: LayerNode | None = None
    """The layer as the graph has it, for what only some kinds of layers have."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple((self.node.input_shape if self.node else None) or ())

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple((self.node.output_shape if self.node else None) or ())

    @property
    def downsamples(self) -> bool:
        """Whether the layer shrinks the feature map: pooling, or a convolution with a stride."""
        return self.category == "pooling" or (self.category == "convolution" and any(step > 1 for step in self.stride))


@dataclass(frozen=True, slots=True)
class Blueprint:
    """``kind`` is cnn, transformer, rnn or generic; ``input_size`` the height and width of an image, () if unknown."""

    kind: str = "generic"
    layers: tuple[Layer, ...] = ()
    total_parameters: int = 0
    input_size: tuple[int, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> int | None:
        """Outputs of the last Linear layer: of a classifier, the number of its classes."""
        linear = self.of("linear")
        return linear[-1].out_features if linear else None

    @property
    def ends_linear(self) -> bool:
        """Whether the last layer with parameters is a Linear one. A head may also be a function that no layer tells."""
        own = [layer for layer in self.layers if layer.parameters]
        return bool(own) and own[-1].category == "linear"

    def of(self, category: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.category == category]


def read_architecture(value: Any) -> Architecture | None:
    """Return an architecture from a record or a dict shaped as the guide's section 4.1; None if there is none.

    Never raises: what has the wrong type counts as not given.
    """
    if isinstance(value, Architecture):
        return value
    if not isinstance(value, Mapping) or not value:
        return None
    graph = get(value, "layer_graph")
    return Architecture(
        model_class=_text(get(value, "model_class")),
        total_parameters=max(0, integer(get(value, "total_parameters")) or 0),
        trainable_parameters=integer(get(value, "trainable_parameters")),
        layers={name: _info(each) for name, each in pairs(get(value, "layers"))},
        layer_graph=_graph(graph) if isinstance(graph, Mapping) else None,
        input_shape=_shape(get(value, "input_shape")),
    )


def _graph(graph: Mapping[str, Any]) -> LayerGraph:
    return LayerGraph(
        nodes=[_node(node) for node in entries(graph.get("nodes")) if isinstance(node, (Mapping, LayerNode))],
        sequential_path=[str(each) for each in entries(graph.get("sequential_path"))],
        edges=[[str(end) for end in entries(edge)] for edge in entries(graph.get("edges"))],
    )


def _info(info: Any) -> LayerInfo:
    trainable = get(info, "trainable")
    return LayerInfo(
        type=_text(get(info, "type")) or "",
        parameters=max(0, integer(get(info, "parameters")) or 0),
        pct_of_total=number(get(info, "pct_of_total")),
        trainable=trainable if isinstance(trainable, bool) else None,
    )


def _node(node: Any) -> LayerNode:
    known: dict[str, Any] = {}
    for each in fields(LayerNode):
        value = get(node, each.name)
        if value is None:
            continue
        if each.name in _TEXTS:
            known[each.name] = str(value)
        elif each.name in ("input_shape", "output_shape") or isinstance(value, (list, tuple)):
            known[each.name] = _shape(value)
        elif isinstance(value, bool):
            known[each.name] = value
        else:
            known[each.name] = integer(value)
    return LayerNode(**{"id": "", "type": ""} | known)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shape(value: Any) -> list[int] | None:
    sizes = [integer(each) for each in entries(value)]
    return [size for size in sizes if size is not None] if sizes and None not in sizes else None


def _spatial(value: list[int] | int | str | None, kind: str) -> tuple[int, ...]:
    """Return a kernel size or stride as one number per dimension of a layer of type ``kind``."""
    if isinstance(value, int):
        return (value,) * next((size for size in (1, 3) if f"{size}d" in kind.lower()), 2)
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def blueprint(architecture: Architecture | None) -> Blueprint:
    """Return the layers of ``architecture`` in the order of execution.

    Shares are computed from the parameters where they are known, since a payload's ``pct_of_total`` may be rounded
    or wrong. A layer that stands in the path only (the guide's own example has such) is known by its name.
    """
    if architecture is None:
        return Blueprint()
    graph = architecture.layer_graph or LayerGraph()
    nodes = {node.id: node for node in graph.nodes}
    order = dict.fromkeys((*graph.sequential_path, *nodes, *architecture.layers))
    total = max(architecture.total_parameters, sum(info.parameters for info in architecture.layers.values()))
    layers = tuple(_layer(name, nodes.get(name), architecture.layers.get(name), total) for name in order)
    return Blueprint(
        kind=_kind(layers, architecture.model_class or ""),
        layers=layers,
        total_parameters=total,
        input_size=_input_size(architecture, graph),
        types={layer.id: layer.type for layer in layers if layer.type},
    )


def _layer(name: str, node: LayerNode | None, info: LayerInfo | None, total: int) -> Layer:
    kind = (node.type if node else "") or (info.type if info else "")
    parameters = info.parameters if info else 0
    share = parameters / total if parameters and total else None
    if share is None and info and info.pct_of_total is not None:
        share = info.pct_of_total / 100
    given = node.category if node and node.category not in ("", "other") else None
    return Layer(
        id=name,
        type=kind,
        category=given or category_of(kind) or category_of(name.rpartition(".")[2]) or "other",
        parameters=parameters,
        share=share,
        in_channels=node.in_channels if node else None,
        out_channels=node.out_channels if node else None,
        in_features=node.in_features if node else None,
        out_features=node.out_features if node else None,
        kernel=_spatial(node.kernel_size, kind) if node else (),
        stride=_spatial(node.stride, kind) if node else (),
        groups=(node.groups if node else None) or 1,
        trainable=info.trainable if info else None,
        node=node,
    )


def category_of(name: str) -> str | None:
    """Return the category that the name of a layer's class, or of a layer, speaks of."""
    return next((category for category, pattern in _KINDS if pattern.search(name)), None)


def _kind(layers: tuple[Layer, ...], model_class: str) -> str:
    """Return what most of the layers make of the network: a CNN with one attention block stays a CNN."""
    attention = {layer.id for layer in layers if layer.category == "attention"}
    attention |= {match.string[: match.end()] for layer in layers if (match := _ATTENTION_ID.search(layer.id))}
    convolutions = [layer for layer in layers if layer.category == "convolution"]
    recurrent = [layer for layer in layers if layer.category == "recurrent"]
    if len(convolutions) == 1 and _cuts_patches(convolutions[0]):
        convolutions = []
    if 0 < _parameters(convolutions) < _parameters(recurrent):
        # A few recurrent layers that read what many small convolutions leave.
        convolutions = []
    counts = {
        "transformer": len(attention) + ("transformer" in model_class.lower()),
        "rnn": len(recurrent),
        "cnn": len(convolutions),
    }
    # On a tie the kind that gives a network its name comes first: a recurrent one may well begin with a convolution.
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else "generic"


def _cuts_patches(layer: Layer) -> bool:
    """Whether a convolution only cuts an image into patches: the first layer of a ViT or an MLP-Mixer is no CNN."""
    return bool(layer.kernel) and min(layer.kernel) > 1 and layer.kernel == layer.stride


def _parameters(layers: Sequence[Layer]) -> int:
    return sum(layer.parameters for layer in layers)


def _input_size(architecture: Architecture, graph: LayerGraph) -> tuple[int, ...]:
    first = next((node for node in graph.nodes if node.input_shape), None)
    shape = architecture.input_shape or (first.input_shape if first else None) or []
    return tuple(shape[2:]) if len(shape) >= 4 else ()
