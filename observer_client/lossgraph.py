"""What a loss is, by the graph that autograd keeps of it. Names of nodes stay readable after the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_WALK = 64
"""Nodes that are looked at: the loss is what is near the end of the graph."""

_KINDS = {
    "NllLoss": "cross_entropy",
    "NllLoss2D": "cross_entropy",
    "BinaryCrossEntropy": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogits": "binary_cross_entropy",
    "MseLoss": "squared_error",
    "SmoothL1Loss": "squared_error",
    "HuberLoss": "squared_error",
}
_SHAPES = frozenset(
    (
        "Alias",
        "Clone",
        "Contiguous",
        "Expand",
        "Index",
        "Permute",
        "ReshapeAlias",
        "Select",
        "Slice",
        "Squeeze",
        "T",
        "ToCopy",
        "Transpose",
        "UnsafeView",
        "Unsqueeze",
        "View",
    )
)
"""Operations that leave numbers as they are."""
_AVERAGES = frozenset({"Mean", "Sum", "Div", "Neg"}) | _SHAPES
"""Operations whose sign is known. A product's is not: of an advantage and a cross-entropy, for instance."""
_SUM = 2
# As in `torch.nn._reduction`.


@dataclass(frozen=True, slots=True)
class LossFacts:
    """``kind`` is a field of `observer_client.record.Loop`, None for a loss of several terms, or of none we know."""

    kind: str | None
    summed: bool
    normalized_twice: bool
    ignored_label: int | None
    """The label that a cross-entropy leaves out."""


def facts_of(loss: Any) -> LossFacts | None:
    """Return what the graph of ``loss`` says, None when it has none: a number, or a detached tensor."""
    node = getattr(loss, "grad_fn", None)
    if node is None:
        return None
    final, summed = _final(node)
    kind = None if final is None else _KINDS[_name(final)]
    if kind == "cross_entropy" and not _takes(final, "LogSoftmax"):
        # Without it this is a sum of anything, as `nll_loss` of the output of a flow.
        kind = None
    entropies = [each for each in _near(node) if _name(each).startswith(("NllLoss", "BinaryCrossEntropyWithLogits"))]
    ignored = [each._saved_ignore_index for each in entropies if hasattr(each, "_saved_ignore_index")]
    return LossFacts(
        kind=kind,
        summed=summed,
        normalized_twice=any(_is_given_probabilities(each) for each in entropies),
        # An unsigned number where a negative one is meant.
        ignored_label=((ignored[0] + 2**63) % 2**64 - 2**63) if ignored else None,
    )


def _final(node: Any) -> tuple[Any, bool]:
    """Return the node of the loss function, if nothing but a change of scale comes after it; and whether it sums."""
    summed = averaged = False
    for _ in range(LONGEST_WALK):
        name = _name(node)
        if name in _KINDS:
            return node, not averaged and (summed or getattr(node, "_saved_reduction", None) == _SUM)
        parents = _parents(node)
        if name not in _AVERAGES or len(parents) != 1:
            break
        summed, averaged = summed or name == "Sum", averaged or name in ("Mean", "Div")
        node = parents[0]
    return None, False


def _is_given_probabilities(node: Any) -> bool:
    if _name(node).startswith("BinaryCrossEntropyWithLogits"):
        return _takes(node, "Sigmoid") is not None
    return _takes(_takes(node, "LogSoftmax") or node, "Softmax") is not None


def _takes(node: Any, name: str) -> Any:
    """Return the node called ``name`` whose output ``node`` takes, reshaped at most."""
    for _ in range(LONGEST_WALK):
        parents = _parents(node)
        if not parents:
            return None
        node = parents[0]
        if _name(node) == name:
            return node
        if _name(node) not in _SHAPES:
            return None
    return None


def _near(node: Any) -> Iterator[Any]:
    queue, known = [node], {node}
    for at in range(LONGEST_WALK):
        if at == len(queue):
            return
        yield queue[at]
        for parent in _parents(queue[at]):
            if parent not in known:
                known.add(parent)
                queue.append(parent)


def _parents(node: Any) -> list[Any]:
    return [parent for parent, _ in node.next_functions if parent is not None]


def _name(node: Any) -> str:
    return str(node.name()).partition("Backward")[0]
