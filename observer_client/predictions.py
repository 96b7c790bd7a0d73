"""Counts predictions by class, where they lie: a window costs one transfer, whatever the number of batches."""

from __future__ import annotations

from typing import Any

from observer_client.guard import harmless
from observer_client.signal_records import ClassCounts

MOST_CLASSES = 1000
"""Classes above this are not told apart: a vocabulary is no set of classes."""
SPLITS = ("train", "val")


class ClassCounter:
    """Counts by split. A counter keeps three whole numbers a class."""

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}

    def add(self, logits: Any, y: Any, split: str | None) -> None:
        """Count a batch: ``logits`` [samples, classes, ...] or [..., classes], or the predicted classes, and labels.

        One logit a sample is that of the second of two classes. Labels below zero are masked and do not count.
        ``split`` is "train" or "val", by default whether gradients are enabled.
        Raises TypeError or ValueError for what is neither.
        """
        torch = _torch()
        if split is None:
            split = SPLITS[0] if torch.is_grad_enabled() else SPLITS[1]
        if split not in SPLITS:
            raise ValueError(f"split is train or val, not {split!r:.80}")
        if not all(isinstance(each, torch.Tensor) for each in (logits, y)):
            raise TypeError(f"observe_predictions takes two tensors, not {type(logits).__name__}, {type(y).__name__}")
        # What is made in inference mode may not be added to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            predicted, labels, classes = _classes(logits.detach(), y.detach())
            if classes <= MOST_CLASSES:
                self._count(split, predicted.reshape(-1), labels.reshape(-1), classes)

    def _count(self, split: str, predicted: Any, labels: Any, classes: int) -> None:
        torch = _torch()
        counts = self._counts.get(split)
        if counts is None:
            self._counts[split] = counts = torch.zeros(3, classes + 1, dtype=torch.int64, device=labels.device)
        elif counts.shape[1] < classes + 1:
            wider = counts.new_zeros(3, classes + 1)
            wider[:, : counts.shape[1] - 1] = counts[:, :-1]
            self._counts[split] = counts = wider
        # Masked labels and classes out of range go to the last place, which nobody reads.
        nowhere = counts.shape[1] - 1
        labels, predicted = (each.to(counts.device, torch.int64) for each in (labels, predicted))
        known = (labels >= 0) & (labels < nowhere)
        labels = torch.where(known, labels, nowhere)
        predicted = torch.where(known & (predicted >= 0) & (predicted < nowhere), predicted, nowhere)
        one = torch.ones_like(labels)
        counts[0].index_add_(0, labels, one)
        counts[1].index_add_(0, predicted, one)
        counts[2].index_add_(0, torch.where(labels == predicted, labels, nowhere), one)

    @harmless
    def read(self) -> dict[str, ClassCounts]:
        """Return the counts since the last call. Waits for the device, once a split."""
        counts, self._counts = self._counts, {}
        found = {}
        for split, table in counts.items():
            support, predicted, correct = table[:, :-1].tolist()
            length = max((at + 1 for at in range(len(support)) if support[at] or predicted[at]), default=0)
            if length:
                found[split] = ClassCounts(
                    support=support[:length], predicted=predicted[:length], correct=correct[:length]
                )
        return found


def _classes(logits: Any, y: Any) -> tuple[Any, Any, int]:
    """Return predicted classes and labels of one shape, and how many classes there may be."""
    if y.is_floating_point() and y.shape == logits.shape or logits.shape == (*y.shape, 1):
        # One logit for two classes, as for binary_cross_entropy_with_logits.
        if logits.is_floating_point():
            return logits.reshape(-1) > 0, y.reshape(-1) > 0.5 if y.is_floating_point() else y.reshape(-1), 2
    elif y.is_floating_point() or y.is_complex():
        raise TypeError(f"observe_predictions takes labels as whole numbers, not {y.dtype}")
    if logits.shape == y.shape and not logits.is_floating_point():
        return logits, y, MOST_CLASSES
    if logits.ndim == y.ndim + 1 and logits.shape[0] == y.shape[0] and logits.shape[2:] == y.shape[1:]:
        return logits.argmax(1), y, logits.shape[1]
    if logits.ndim == y.ndim + 1 and logits.shape[:-1] == y.shape:
        # Language models put the classes last.
        return logits.argmax(-1), y, logits.shape[-1]
    raise ValueError(
        f"observe_predictions cannot match logits of shape {tuple(logits.shape)} with labels of {tuple(y.shape)}"
    )


def _torch() -> Any:
    import torch  # The predictions are torch's, so it is there.

    return torch
