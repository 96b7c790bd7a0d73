"""Checks on the architecture of transformers; silent on layers of other kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diagnostics.engine.architecture import Layer
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.reading import integer
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds
from observer_client.record import LayerNode

_POSITIONS = re.compile(r"(^|[._])(w?pe|pos\w*|places?)([._]|$)|position", re.IGNORECASE)
_SIDE_TABLE = re.compile(r"type|segment", re.IGNORECASE)
_PASSED = frozenset({"dropout", "activation", "container", "other"})
# What may stand between attention and its normalization.
_LENGTHS = ("block_size", "max_seq_len", "max_seq_length", "seq_len", "sequence_length", "context_length")


def nodes_of(run: Run, category: str) -> Iterator[tuple[Layer, LayerNode]]:
    """Yield the layers of a category that the graph knows."""
    for layer in run.blueprint.of(category):
        if layer.node is not None:
            yield layer, layer.node


def graph_finding(layer: Layer, said: str, value: Any, limits: DiagnosticThresholds, threshold: str | None) -> Finding:
    """Return a finding on one layer of the graph; ``threshold`` names the limit that it crossed, if there is one."""
    limit = {"threshold": threshold, "limit": getattr(limits, threshold)} if threshold else {}
    return Finding(
        description=f"Layer {layer.id!r} {said}.",
        layer=layer.id,
        key="architecture.layer_graph",
        value=value,
        evidence={"series": [], "layers": [layer.id], "type": layer.type, **limit},
    )


@check(
    "attention-head-count",
    title="Unfit number of attention heads",
    category=IssueCategory.architecture,
    severity=IssueSeverity.critical,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def attention_head_count(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The width of an attention layer does not fit its number of heads.

    ## What it does
    Reports attention layers whose width is no multiple of the number of heads. As information it reports heads that
    are narrower than 16 or wider than 256; the robust profile lets layers of less than 10,000 parameters have narrow
    ones.

    ## Why it matters
    Each head works on an equal part of the width. A rest is lost or an error; a very narrow head can hardly tell
    positions apart, and very wide ones leave too few of them.

    ## How to fix it
    Choose a width that is the number of heads times 32 to 128.

    ```python
    nn.MultiheadAttention(embed_dim=128, num_heads=4)  # 32 per head; 3 heads would leave a rest
    ```
    """
    for layer, node in nodes_of(run, "attention"):
        width, heads = node.embed_dim or (layer.input_shape[-1] if layer.input_shape else 0), node.num_heads or 0
        if width <= 0 or heads <= 0:
            continue
        if width % heads:
            said = f"divides a width of {width} among {heads} heads, which leaves a rest"
            yield graph_finding(layer, said, heads, limits, None)
        elif not limits.head_width_min <= width // heads <= limits.head_width_max:
            found = graph_finding(
                layer, f"has heads of width {width // heads}", width // heads, limits, "head_width_min"
            )
            found.severity = IssueSeverity.info
            yield found


@attention_head_count.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in attention_head_count.rule(run, limits):
        if found.severity is IssueSeverity.info and _size(run, str(found.layer)) < limits.small_layer_parameters:
            found.suppressed = "the network is small"
        yield found


def _size(run: Run, layer: str) -> int:
    """Return the parameters of a layer and of all its parts."""
    return sum(each.parameters for each in run.blueprint.layers if each.id == layer or each.id.startswith(f"{layer}."))


@check(
    "embedding-dimension",
    title="Oversized embedding",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def embedding_dimension(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """An embedding is wider than its vocabulary is large.

    ## What it does
    Reports embeddings with more dimensions than symbols. The width is often that of the whole model, so the robust
    profile leaves out tables with less than 5 % of the parameters, and those of positions and segments.

    ## Why it matters
    As many dimensions as symbols hold any relation between them; what is more costs parameters for nothing.

    ## How to fix it
    Make the embedding narrower, and widen it afterwards by a linear layer if the model needs that.

    ```python
    nn.Sequential(nn.Embedding(1000, 128), nn.Linear(128, 1024))  # was nn.Embedding(1000, 1024)
    ```
    """
    for layer, node in nodes_of(run, "embedding"):
        symbols, width = node.num_embeddings or 0, node.embedding_dim or 0
        if 0 < symbols < width:
            said = f"gives each of {symbols:,} symbols {width:,} dimensions"
            yield graph_finding(layer, said, width, limits, None)


@embedding_dimension.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    shares = {layer.id: layer.share for layer in run.blueprint.layers}
    for found in embedding_dimension.rule(run, limits):
        share = shares[str(found.layer)]
        if _POSITIONS.search(str(found.layer)) or _SIDE_TABLE.search(str(found.layer)):
            found.suppressed = "a table of positions or segments is as wide as the model"
        elif share is not None and share < limits.notable_share:
            found.suppressed = f"it holds {share:.1%} of the parameters"
        yield found


@check(
    "position-encoding",
    title="Position table too short",
    category=IssueCategory.architecture,
    severity=IssueSeverity.critical,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def position_encoding(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Sequences are longer than the table of positions.

    ## What it does
    Compares the length of sequences that the hyperparameters name (block_size and the like) with the number of
    entries in an embedding of positions, which is known by its name.

    ## Why it matters
    A position beyond the table is an index error, on a GPU one that names no line of the program.

    ## How to fix it
    Make the table as long as the longest sequence, or cut the sequences.

    ```python
    self.positions = nn.Embedding(block_size, width)
    ```
    """
    told = {str(name).lower(): value for name, value in run.hyperparameters.items()}
    length = next((size for name in _LENGTHS if (size := integer(told.get(name)))), None)
    if length is None:
        return
    for layer, node in nodes_of(run, "embedding"):
        if _POSITIONS.search(layer.id) and 0 < (node.num_embeddings or 0) < length:
            said = f"knows {node.num_embeddings:,} positions, and sequences have up to {length:,}"
            found = graph_finding(layer, said, node.num_embeddings, limits, None)
            found.evidence["length"] = length
            yield found


@check(
    "layer-norm-placement",
    title="Attention without normalization",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("architecture",),
    section="11.1",
)
def layer_norm_placement(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A stack of attention layers has no normalization, or has it in the wrong place.

    ## What it does
    Reports networks of two and more attention layers without a single normalization layer. Layers of PyTorch that
    bring their own (TransformerEncoderLayer) count as normalized. As information it reports six and more attention
    layers that normalize after attention instead of before it, by the order of execution: such a stack needs the
    learning rate to be warmed up. The robust profile does so only where the learning rates were logged and show no
    warm-up.

    ## Why it matters
    Without it the outputs of the blocks add up, attention saturates, and training is stable only at learning rates
    that get nowhere. With it after each block the gradients of the last blocks are large at the start (Xiong and
    others 2020, "On Layer Normalization in the Transformer Architecture").

    ## How to fix it
    Normalize the input of each attention and each feed-forward block.

    ```python
    x = x + self.attention(self.norm1(x))
    x = x + self.mlp(self.norm2(x))
    ```
    """
    layers = run.blueprint.layers
    attention = [layer for layer in layers if layer.category == "attention"]
    normal = any(layer.category == "normalization" or layer.type.startswith("Transformer") for layer in layers)
    if run.blueprint.kind != "transformer":
        return
    if len(attention) >= 2 and not normal:
        found = graph_finding(
            attention[0], f"and {len(attention) - 1} others attend without normalization", 0, limits, None
        )
        found.layer = None
        yield found
    elif len(after := normalized_after(layers)) >= max(limits.post_norm_layers, len(attention) / 2):
        said = f"and {len(after) - 1} others are normalized after attention, not before it"
        found = graph_finding(after[0], said, len(after), limits, "post_norm_layers")
        found.layer, found.severity, found.title = None, IssueSeverity.info, "Normalization after attention"
        found.evidence["post_norm"] = True
        yield found


@layer_norm_placement.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    rates = run.steps("learning_rate").values
    column = run.column("learning_rate")
    logged = rates[np.isfinite(rates)] if np.isfinite(rates).any() else column.values[column.finite]
    for found in layer_norm_placement.rule(run, limits):
        if found.evidence.get("post_norm") and not logged.size:
            found.suppressed = "whether the learning rate was warmed up is not known"
        elif found.evidence.get("post_norm") and logged.max() >= limits.warm_up_ratio * logged[0]:
            found.suppressed = "the learning rate was warmed up"
        yield found


def normalized_after(layers: Sequence[Layer]) -> list[Layer]:
    """Return the attention layers that a normalization follows, and none precedes, in the order of execution."""
    found = []
    for layer in layers:
        if layer.category == "attention":
            outside = [
                each for each in layers if not each.id.startswith(f"{layer.id}.") and each.category not in _PASSED
            ]
            place = outside.index(layer)
            before, behind = outside[:place][-1:], outside[place + 1 : place + 2]
            if _are_normal(behind) and (not _are_normal(before) or _closes(before[0], layer)):
                found.append(layer)
    return found


def _are_normal(layers: Sequence[Layer]) -> bool:
    return any(layer.category == "normalization" for layer in layers)


def _closes(normal: Layer, attention: Layer) -> bool:
    """Whether a normalization belongs to the block before that of ``attention``."""
    return normal.id.rpartition(".")[0] != attention.id.rpartition(".")[0]
