"""What a model returned, and the loss that belongs to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_TARGETS = frozenset({"y", "target", "targets", "label", "labels"})


def takes_targets(model: Any) -> bool:
    """Say whether the second argument of ``model``'s forward is the targets, as in models that return their loss."""
    forward = getattr(model, "forward", model)
    try:
        names = [
            each.name
            for each in inspect.signature(forward).parameters.values()
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return False
    return len(names) > 1 and names[1] in _TARGETS


def loss_of(output: Any, y: Any, criterion: Callable[[Any, Any], Any] | None) -> tuple[Any, Any]:
    """Return ``(logits, loss)`` of a model's output.

    The criterion decides when there is one. If the model returns a number beside its tensor, torch's own criteria get
    the tensor, and a function of the user's gets all of it, as in a loop without the profiler. Then comes the model's
    own loss: ``(logits, loss)``, ``(loss, logits)`` or an attribute or key ``loss``. Otherwise it is cross-entropy for
    integer targets, mean squared error for floating ones.
    Raises TypeError when neither fits and ValueError when targets do not fit the logits.
    """
    logits, own = _parts(output)
    if criterion is not None:
        return logits, criterion(output if _is_scalar(own) and not _is_torchs(criterion) else logits, y)
    if own is not None:
        return logits, own
    return logits, _default(logits, y)


def _parts(output: Any) -> tuple[Any, Any]:
    if isinstance(output, Mapping) and "loss" in output:
        return output.get("logits", output), output["loss"]
    if getattr(output, "loss", None) is not None:
        return getattr(output, "logits", output), output.loss
    if isinstance(output, (tuple, list)) and len(output) > 1:
        first, second = output[0], output[1]
        if second is None or _is_scalar(second):
            return first, second
        if _is_scalar(first):
            return second, first
    return output, None


def _is_torchs(criterion: Callable[[Any, Any], Any]) -> bool:
    home = criterion if inspect.isfunction(criterion) else type(criterion)
    return str(home.__module__).startswith("torch.")


def _is_scalar(value: Any) -> bool:
    return hasattr(value, "backward") and value.ndim == 0


def _default(logits: Any, y: Any) -> Any:
    from torch.nn import functional  # The model is torch's, so it is there.

    if not hasattr(logits, "backward") or not hasattr(y, "dtype") or not hasattr(y, "is_floating_point"):
        raise TypeError(
            f"profile_step finds no loss for a {type(logits).__name__} and targets of {type(y).__name__}: "
            "pass criterion=, or let the model return (logits, loss)"
        )
    if y.is_floating_point():
        if logits.numel() != y.numel():
            raise ValueError(_misfit(logits, y))
        return functional.mse_loss(logits.reshape(y.shape), y)
    if y.is_complex() or str(y.dtype) == "torch.bool":
        raise TypeError(f"profile_step has no loss for targets of {y.dtype}: pass criterion=")
    if logits.ndim == y.ndim + 1 and logits.shape[0] == y.shape[0] and logits.shape[2:] == y.shape[1:]:
        return functional.cross_entropy(logits, y.long())
    if logits.ndim == y.ndim + 1 and logits.shape[:-1] == y.shape:
        # Language models put the classes last.
        return functional.cross_entropy(logits.flatten(0, -2), y.flatten().long())
    raise ValueError(_misfit(logits, y))


def _misfit(logits: Any, y: Any) -> str:
    return (
        f"profile_step cannot match logits of shape {tuple(logits.shape)} with targets of shape {tuple(y.shape)} "
        f"({y.dtype}): pass criterion="
    )
