"""Checks on the architecture of transformers and recurrent networks; silent on layers of other kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from diagnostics.engine.architecture import Layer
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.reading import integer
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds
from observer_client.record import LayerNode

_POSITIONS = re.compile(r"(^|[._])(w?pe|pos\w*|places?)([._]|$)|position", re.IGNORECASE)
_SIDE_TABLE = re.compile(r"type|segment", re.IGNORECASE)
_LENGTHS = ("block_size", "max_seq_len", "max_seq_length", "seq_len", "sequence_length", "context_length")


def _nodes(run: Run, category: str) -> Iterator[tuple[Layer, LayerNode]]:
    for layer in run.blueprint.of(category):
        if layer.node is not None:
            yield layer, layer.node


def _finding(layer: Layer, said: str, value: Any, limits: DiagnosticThresholds, threshold: str | None) -> Finding:
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
    for layer, node in _nodes(run, "attention"):
        width, heads = node.embed_dim or (layer.input_shape[-1] if layer.input_shape else 0), node.num_heads or 0
        if width <= 0 or heads <= 0:
            continue
        if width % heads:
            said = f"divides a width of {width} among {heads} heads, which leaves a rest"
            yield _finding(layer, said, heads, limits, None)
        elif not limits.head_width_min <= width // heads <= limits.head_width_max:
            found = _finding(layer, f"has heads of width {width // heads}", width // heads, limits, "head_width_min")
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
    for layer, node in _nodes(run, "embedding"):
        symbols, width = node.num_embeddings or 0, node.embedding_dim or 0
        if 0 < symbols < width:
            said = f"gives each of {symbols:,} symbols {width:,} dimensions"
            yield _finding(layer, said, width, limits, None)


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
    for layer, node in _nodes(run, "embedding"):
        if _POSITIONS.search(layer.id) and 0 < (node.num_embeddings or 0) < length:
            said = f"knows {node.num_embeddings:,} positions, and sequences have up to {length:,}"
            yield _finding(layer, said, node.num_embeddings, limits, None)


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
    """A stack of attention layers has no normalization.

    ## What it does
    Reports networks of two and more attention layers without a single normalization layer. Layers of PyTorch that
    bring their own (TransformerEncoderLayer) count as normalized.

    ## Why it matters
    Without it the outputs of the blocks add up, attention saturates, and training is stable only at learning rates
    that get nowhere.

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
    if len(attention) >= 2 and not normal and run.blueprint.kind == "transformer":
        found = _finding(attention[0], f"and {len(attention) - 1} others attend without normalization", 0, limits, None)
        found.layer = None
        yield found


@check(
    "hidden-size-ratio",
    title="Oversized hidden state",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def hidden_size_ratio(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The hidden state of a recurrent layer is many times wider than its input.

    ## What it does
    Reports recurrent layers whose hidden state is more than 32 times as wide as the input. A signal of one channel
    needs some width all the same, so the robust profile lets 256 and less pass.

    ## Why it matters
    The weights grow with the square of the hidden state; most of them learn noise.

    ## How to fix it
    Halve the hidden size until the validation loss rises.

    ```python
    nn.LSTM(input_size=8, hidden_size=64, batch_first=True)  # was 1024
    ```
    """
    for layer, node in _nodes(run, "recurrent"):
        width, hidden = node.input_size or 0, node.hidden_size or 0
        if width > 0 and hidden > limits.hidden_size_ratio * width:
            said = f"keeps a state of {hidden:,} for an input of {width:,}"
            yield _finding(layer, said, hidden, limits, "hidden_size_ratio")


@hidden_size_ratio.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in hidden_size_ratio.rule(run, limits):
        if found.value <= limits.hidden_size_small:
            found.suppressed = f"a state of {found.value} is small"
        yield found


@check(
    "num-layers",
    title="Deep recurrent stack",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def num_layers(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Many recurrent layers are stacked.

    ## What it does
    Reports recurrent layers of more than four levels. The robust profile lets a stack pass that has normalization
    layers beside it.

    ## Why it matters
    Gradients pass through every level at every step of the sequence: they vanish in depth and in time.

    ## How to fix it
    Use two or three levels, with dropout between them, or add skip connections and normalization.

    ```python
    nn.LSTM(input_size=64, hidden_size=128, num_layers=2, dropout=0.2)
    ```
    """
    for layer, node in _nodes(run, "recurrent"):
        if (node.num_layers or 0) > limits.recurrent_layers:
            yield _finding(layer, f"stacks {node.num_layers} levels", node.num_layers, limits, "recurrent_layers")


@num_layers.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    normalized = len(run.blueprint.of("normalization"))
    for found in num_layers.rule(run, limits):
        if normalized >= limits.recurrent_layers:
            found.suppressed = "normalization layers keep the gradients up"
        yield found


@check(
    "bidirectional-usage",
    title="Bidirectional generator",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def bidirectional_usage(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A model that predicts symbols of its own vocabulary reads in both directions.

    ## What it does
    Reports bidirectional recurrent layers in networks whose output is as large as the vocabulary of their embedding:
    such a network predicts the next symbol, as a rule.

    ## Why it matters
    A layer that reads backwards has seen the symbol that is to be predicted. The loss gets very low, and the model
    cannot generate anything.

    ## How to fix it
    Read forwards only; a network that fills gaps or tags symbols may stay as it is.

    ```python
    nn.LSTM(input_size=64, hidden_size=128, bidirectional=False)
    ```
    """
    symbols = {node.num_embeddings for _, node in _nodes(run, "embedding") if node.num_embeddings}
    if run.blueprint.classes in symbols:
        for layer, node in _nodes(run, "recurrent"):
            if node.bidirectional:
                said = f"reads both ways in a network that predicts {run.blueprint.classes:,} symbols"
                yield _finding(layer, said, True, limits, None)


@check(
    "sequence-length",
    title="Sequence too long for recurrence",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def sequence_length(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A recurrent layer reads very long sequences.

    ## What it does
    Reports recurrent layers that were given more than 500 steps at once, by the shape of their input. The first size
    of the network's input tells which side of the shape is the batch.

    ## Why it matters
    The gradient passes through every step. After some hundreds nothing is left of what the first ones have to say.

    ## How to fix it
    Cut the sequences, shorten them by a strided convolution before the layer, or use attention.

    ```python
    nn.Sequential(nn.Conv1d(1, 32, kernel_size=8, stride=8), nn.ReLU())  # before the LSTM
    ```
    """
    batch = (run.architecture.input_shape or [0])[0] if run.architecture else 0
    for layer, _ in _nodes(run, "recurrent"):
        shape = layer.input_shape
        if len(shape) == 3 and batch in shape[:2]:
            steps = shape[1] if shape[0] == batch else shape[0]
            if steps > limits.recurrent_steps:
                yield _finding(layer, f"reads {steps:,} steps at once", steps, limits, "recurrent_steps")
