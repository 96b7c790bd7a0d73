"""Fixes of the architecture: layers of other sizes, made of those that the network has."""

from __future__ import annotations

import math

from diagnostics.engine.architecture import Layer
from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import lines, module, replaced
from diagnostics.engine.issue import IssueData
from diagnostics.engine.reading import integer

_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_HEAD_WIDTHS = (64, 48, 80, 96, 32, 128, 40, 56, 24, 16)
"""Widths of a head, the best first; 64 is what most transformers have."""


@recipe("fc-dominates")
def pool_before(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    channels = _channels_before(facts, layer) if layer else None
    if layer is None or not channels or not layer.in_features or layer.in_features % channels:
        return None
    if channels == layer.in_features:
        return None
    linear = replaced(layer.id, f"torch.nn.Linear({channels}, {layer.out_features})")
    if linear is None:
        return None
    return lines(
        "# Before the optimizer is made; forward() applies model.pool before it flattens.",
        "model.pool = torch.nn.AdaptiveAvgPool2d(1)",
        f"{linear}  # was {layer.in_features} inputs",
    )


def _channels_before(facts: Facts, layer: Layer) -> int | None:
    before = None
    for each in facts.run.blueprint.layers:
        if each.id == layer.id:
            return before
        if each.category == "convolution" and each.out_channels:
            before = each.out_channels
        elif each.category == "linear":
            before = None
    return None


@recipe("missing-pooling")
def stride(facts: Facts, issue: IssueData) -> str | None:
    """Give every second convolution of the row a stride, and the first Linear after it what that leaves."""
    row = [layer for name in issue.evidence.get("layers", ()) if (layer := facts.layer(name)) is not None]
    places = [place for layer in row[1::2] if layer.stride and (place := module(layer.id))]
    if not places:
        return None
    made = [f"{place}.stride = (2, 2)" for place in places]
    head = _smaller_head(facts, row, len(places))
    told = "each stride of 2 leaves a fourth of the map" + ("." if head else ", so the next Linear needs fewer inputs.")
    return lines(f"# Before the optimizer is made: {told}", *made, *head)


def _smaller_head(facts: Facts, row: list[Layer], strides: int) -> list[str]:
    last, order = row[-1], facts.run.blueprint.layers
    after = order[order.index(last) + 1 :]
    linear = next((layer for layer in after if layer.category == "linear"), None)
    shape = last.output_shape
    if linear is None or len(shape) != 4 or not all(shape):
        return []
    _, channels, height, width = shape
    kept = all(
        each.kernel and (each.node.padding if each.node else None) == [k // 2 for k in each.kernel] for each in row
    )
    if not kept or linear.in_features != channels * height * width:
        return []
    sides = [math.ceil(side / 2**strides) for side in (height, width)]
    inputs = channels * sides[0] * sides[1]
    statement = replaced(linear.id, f"torch.nn.Linear({inputs}, {linear.out_features})")
    return [f"{statement}  # was {linear.in_features} inputs"] if statement else []


@recipe("large-kernel")
def small_kernel(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    padding = layer.node.padding if layer and layer.node else None
    if layer is None or not layer.in_channels or not layer.out_channels or not isinstance(padding, list):
        return None
    padded = [pad - (side - 3) // 2 for pad, side in zip(padding, layer.kernel, strict=False)]
    if len(padded) != 2 or min(padded) < 0 or any(side % 2 == 0 for side in layer.kernel):
        return None
    made = (
        f"torch.nn.Conv2d({layer.in_channels}, {layer.out_channels}, kernel_size=3, stride={_pair(layer.stride)}, "
        f"padding={_pair(padded)}, groups={layer.groups})"
    )
    statement = replaced(layer.id, made)
    return statement and lines("# Before the optimizer is made: the map that comes out has the same size.", statement)


def _pair(sides: tuple[int, ...] | list[int]) -> str:
    return f"({', '.join(str(side) for side in sides)})" if sides else "1"


@recipe("conv-bottleneck")
def squeeze(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    if layer is None or "2d" not in layer.type or not layer.in_channels or not layer.out_channels:
        return None
    padding = layer.node.padding if layer.node and isinstance(layer.node.padding, list) else ()
    middle = max(1, min(layer.in_channels, layer.out_channels) // 4)
    made = lines(
        "torch.nn.Sequential(",
        f"    torch.nn.Conv2d({layer.in_channels}, {middle}, kernel_size=1),",
        f"    torch.nn.Conv2d({middle}, {middle}, kernel_size={_pair(layer.kernel)}, stride={_pair(layer.stride)}, "
        f"padding={_pair(tuple(padding)) if padding else 0}),",
        f"    torch.nn.Conv2d({middle}, {layer.out_channels}, kernel_size=1),",
        ")",
    )
    statement = replaced(layer.id, made)
    return statement and lines(
        "# Before the optimizer is made: squeeze the channels, convolve, expand them.", statement
    )


@recipe("early-channel-explosion")
def fewer_channels(facts: Facts, issue: IssueData) -> str | None:
    convolutions = facts.run.blueprint.of("convolution")
    if len(convolutions) < 2 or facts.run.blueprint.of("normalization"):
        return None
    first, second = convolutions[:2]
    if second.in_channels != first.out_channels or second.groups != 1 or not second.out_channels:
        return None
    statements = [
        replaced(
            layer.id, f"torch.nn.Conv2d({into}, {out}, {_pair(layer.kernel)}, {_pair(layer.stride)}, {_pad(layer)})"
        )
        for layer, into, out in ((first, 1, 16), (second, 16, second.out_channels))
    ]
    if None in statements or "2d" not in first.type:
        return None
    return lines("# Before the optimizer is made: 16 features of a gray patch are enough.", *map(str, statements))


def _pad(layer: Layer) -> str:
    padding = layer.node.padding if layer.node else None
    return _pair(padding) if isinstance(padding, list) else "0"


@recipe("attention-head-count")
def fitting_heads(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    node = layer.node if layer else None
    width = (node.embed_dim if node else None) or 0
    heads = next((width // each for each in _HEAD_WIDTHS if width >= each and width % each == 0), None)
    if layer is None or not heads:
        return None
    place = module(layer.id)
    if layer.type == "MultiheadAttention" and place:
        made = f"torch.nn.MultiheadAttention({width}, {heads}, batch_first={place}.batch_first)"
        statement = replaced(layer.id, made)
        return statement and lines("# Before the optimizer is made.", statement)
    return lines("# Where the model is configured.", f"num_heads = {heads}  # {width} = {heads} x {width // heads}")


@recipe("embedding-dimension")
def narrow_embedding(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    node = layer.node if layer else None
    if layer is None or node is None or not node.num_embeddings or not node.embedding_dim:
        return None
    narrow = max(8, 2 ** math.floor(math.log2(max(1, node.num_embeddings) / 2 + 1)))
    made = (
        f"torch.nn.Sequential(torch.nn.Embedding({node.num_embeddings}, {narrow}), "
        f"torch.nn.Linear({narrow}, {node.embedding_dim}))"
    )
    statement = replaced(layer.id, made)
    return statement and lines("# Before the optimizer is made: narrow first, then widen.", statement)


@recipe("position-encoding")
def longer_table(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    length = integer(issue.evidence.get("length"))
    width = layer.node.embedding_dim if layer and layer.node else None
    if layer is None or not width or not length:
        return None
    statement = replaced(layer.id, f"torch.nn.Embedding({length}, {width})")
    return statement and lines("# Before the optimizer is made: one entry for each position.", statement)


@recipe("num-layers")
def shallower(facts: Facts, issue: IssueData) -> str | None:
    return _recurrent(facts, issue, "two levels, with dropout between them", num_layers=2, dropout=0.2)


@recipe("hidden-size-ratio")
def narrower(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    size = layer.node.input_size if layer and layer.node else None
    if not size:
        return None
    hidden = max(64, 2 ** math.ceil(math.log2(8 * size)))
    return _recurrent(facts, issue, "what reads its output gets narrower with it", hidden_size=hidden)


@recipe("bidirectional-usage")
def forwards_only(facts: Facts, issue: IssueData) -> str | None:
    return _recurrent(facts, issue, "what reads its output gets half of the inputs", bidirectional=False)


def _recurrent(facts: Facts, issue: IssueData, told: str, **changed: float) -> str | None:
    """Return a recurrent layer as it was, but for what is ``changed``."""
    layer = facts.layer(issue.layer_id)
    node, place = (layer.node, module(layer.id)) if layer else (None, None)
    if layer is None or node is None or layer.type not in _RECURRENT or not node.input_size or place is None:
        return None
    given = {
        "input_size": node.input_size,
        "hidden_size": node.hidden_size,
        "num_layers": node.num_layers or 1,
        "bidirectional": bool(node.bidirectional),
    } | changed
    arguments = ", ".join(f"{name}={value}" for name, value in given.items())
    statement = replaced(layer.id, f"torch.nn.{layer.type}({arguments}, batch_first={place}.batch_first)")
    return statement and lines(f"# Before the optimizer is made: {told}.", statement)


@recipe("sequence-length")
def shorten(facts: Facts, issue: IssueData) -> str | None:
    steps, limit = integer(issue.metric_value), integer(issue.evidence.get("limit"))
    layer = facts.layer(issue.layer_id)
    size = layer.node.input_size if layer and layer.node else None
    if not steps or not limit or not size:
        return None
    stride = math.ceil(steps / limit * 2)
    return lines(
        f"# Before the optimizer is made; forward() applies it to (batch, {size}, {steps}) before the recurrent layer.",
        f"model.shorten = torch.nn.Conv1d({size}, {size}, kernel_size={stride}, stride={stride})",
    )


@recipe("layer-norm-placement")
def normalize_first(facts: Facts, issue: IssueData) -> str | None:
    if issue.evidence.get("post_norm"):
        return lines(
            "# Before training: normalize what goes into each block, not what comes out of it.",
            "for module in model.modules():",
            "    if isinstance(module, (torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer)):",
            "        module.norm_first = True",
        )
    layer = next(iter(facts.run.blueprint.of("attention")), None)
    width = (
        (layer.node.embed_dim if layer and layer.node else None) or (layer.input_shape[-1:] or (0,))[0] if layer else 0
    )
    if not width:
        return None
    return lines(
        "# Before the optimizer is made, one for each block; forward() computes x + attention(norm(x)).",
        f"norm = torch.nn.LayerNorm({width})",
    )
