"""What goes into a model: scale of the inputs, padding, masked labels, from the first batches of each window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observer_client.guard import harmless
from observer_client.hooks import tensors
from observer_client.layout import thin
from observer_client.signal_records import DataFigures

LOOKS = 4
"""Batches of a window whose inputs are looked at."""
TOKEN_LOOKS = 64
"""Batches of a window whose padding and labels are looked at."""
MOST_NUMBERS = 2**18
MASKED = -100
"""The label that PyTorch's losses leave out by default."""


class InputWatch:
    """Measures inputs where they lie; everything is read back with one transfer a device when the window closes."""

    def __init__(self) -> None:
        self.pad_id: int | None = None
        self._rows: list[Any] = []
        self._padding: list[Any] = []
        self._masked: list[Any] = []
        self._by_batch = False

    def look(self, args: Any, kwargs: Any) -> bool:
        """Measure the arguments of a training pass; say whether to be shown the next."""
        if len(self._rows) < LOOKS and (largest := _largest([*tensors(args), *tensors(kwargs)])) is not None:
            self._rows.append(_figures(largest))
        if not self._by_batch:
            self._look_at_tokens(kwargs)
        return len(self._rows) < LOOKS

    @harmless
    def look_at_batch(self, batch: Any) -> None:
        """Measure padding and labels of a batch as a loader gave it."""
        if isinstance(batch, Mapping):
            self._by_batch = True
            self._look_at_tokens(batch)
            return
        found = tensors(batch)
        if self.pad_id is not None and found and len(self._padding) < TOKEN_LOOKS:
            self._padding.append(_share(found[0] == self.pad_id))
        if len(found) > 1:
            self.look_at_labels(found[-1])

    def _look_at_tokens(self, named: Mapping[str, Any]) -> None:
        mask, tokens, labels = (_tensor(named.get(name)) for name in ("attention_mask", "input_ids", "labels"))
        if len(self._padding) < TOKEN_LOOKS:
            if mask is not None and mask.ndim == 2:
                self._padding.append(_share(mask == 0))
            elif self.pad_id is not None and tokens is not None:
                self._padding.append(_share(tokens == self.pad_id))
        if labels is not None:
            self.look_at_labels(labels)

    def look_at_labels(self, labels: Any) -> None:
        """Note how many of whole-numbered ``labels`` are masked."""
        labels = _tensor(labels)
        if len(self._masked) < TOKEN_LOOKS and labels is not None and not labels.is_floating_point():
            self._masked.append(_share(labels == MASKED))

    @harmless
    def read(self) -> DataFigures | None:
        """Return what was seen since the last call, None if nothing. Waits for the devices."""
        rows, padding, masked = self._rows, self._padding, self._masked
        self._rows, self._padding, self._masked, self._by_batch = [], [], [], False
        figures = DataFigures(padding_share=_mean(padding), masked_label_share=_mean(masked))
        if rows:
            _add(figures, _read(rows))
        return figures if rows or padding or masked else None


def _largest(found: list[Any]) -> Any:
    # A vector is a time step, a weight or a length, not what a layer is fed with.
    usable = [each for each in found if each.is_floating_point() and each.ndim > 1 and each.numel() and _is_plain(each)]
    return max(usable, key=lambda each: each.numel(), default=None)


def _is_plain(tensor: Any) -> bool:
    return not (tensor.is_sparse or tensor.is_meta or tensor.is_nested or hasattr(tensor, "to_local"))


def _tensor(value: Any) -> Any:
    return value if hasattr(value, "is_floating_point") and hasattr(value, "numel") and value.numel() else None


def _figures(tensor: Any) -> Any:
    """Return mean, mean of squares, least, largest and share of what is not finite, [5], where the tensor lies."""
    torch = _torch()
    numbers = thin(tensor, MOST_NUMBERS)
    finite = torch.isfinite(numbers)
    share = finite.float().mean()
    known = torch.where(finite, numbers, 0.0)
    infinite = float("inf")
    return torch.stack(
        [
            known.mean() / share,
            known.square().mean() / share,
            torch.where(finite, numbers, infinite).min(),
            torch.where(finite, numbers, -infinite).max(),
            1 - share,
        ]
    )


def _add(figures: DataFigures, rows: list[list[float]]) -> None:
    figures.input_non_finite_share = sum(row[4] for row in rows) / len(rows)
    # A batch without any finite number has no mean.
    rows = [row for row in rows if row[4] < 1]
    if rows:
        mean, square = (sum(row[place] for row in rows) / len(rows) for place in (0, 1))
        figures.input_mean = mean
        figures.input_std = max(0.0, square - mean * mean) ** 0.5
        figures.input_min, figures.input_max = min(row[2] for row in rows), max(row[3] for row in rows)


def _share(mask: Any) -> Any:
    return mask.detach().float().mean()


def _mean(shares: list[Any]) -> float | None:
    values = _read(shares)
    return sum(values) / len(values) if values else None


def _read(found: list[Any]) -> list[Any]:
    """Return tensors of one shape as lists: one transfer for those that lie together."""
    if not found:
        return []
    home = found[0].device
    read: list[Any] = _torch().stack([each.to(home) for each in found]).tolist()
    return read


def _torch() -> Any:
    import torch  # There is a tensor, so torch is there.

    return torch
