"""The part of the wire format that describes the model; see `observer_client.record`, which has these names, too."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class LayerInfo:
    """Size of one layer. ``pct_of_total`` is in percent (0 to 100)."""

    type: str
    parameters: int = 0
    pct_of_total: float | None = None
    trainable: bool | None = None


@dataclass(slots=True, kw_only=True)
class LayerNode:
    """One layer of the graph. ``category`` is convolution, linear, pooling, normalization, activation, dropout,
    embedding, recurrent, attention, container or other. Shapes as PyTorch prints them, batch included."""

    id: str
    type: str
    category: str = "other"
    in_channels: int | None = None
    out_channels: int | None = None
    kernel_size: list[int] | int | None = None
    stride: list[int] | int | None = None
    padding: list[int] | int | str | None = None
    groups: int | None = None
    in_features: int | None = None
    out_features: int | None = None
    num_embeddings: int | None = None
    embedding_dim: int | None = None
    embed_dim: int | None = None
    num_heads: int | None = None
    input_size: int | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    bidirectional: bool | None = None
    input_shape: list[int] | None = None
    output_shape: list[int] | None = None


@dataclass(slots=True, kw_only=True)
class LayerGraph:
    """``sequential_path`` is the order of execution, ``edges`` pairs of layer ids."""

    nodes: list[LayerNode] = field(default_factory=list)
    sequential_path: list[str] = field(default_factory=list)
    edges: list[list[str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Architecture:
    model_class: str | None = None
    total_parameters: int = 0
    trainable_parameters: int | None = None
    layers: dict[str, LayerInfo] = field(default_factory=dict)
    layer_graph: LayerGraph | None = None
    input_shape: list[int] | None = None
