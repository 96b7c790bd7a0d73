"""Whether parameters change at all: a fingerprint of each, compared from window to window where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from observer_client.layout import Bank

if TYPE_CHECKING:
    import torch


class Fingerprints:
    """Remembers a sum over the bits of each parameter. A changed bit changes it, however small the update."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[list[int], torch.Tensor]] = {}

    def compare(self, banks: Sequence[Bank]) -> list[tuple[Bank, torch.Tensor, set[str]]]:
        """Take new fingerprints; return for each bank how many parameters changed since the last call, [layers], and
        the layers of which that is known.

        Frozen parameters do not count, nor vectors in half precision: their updates are often below its resolution.
        """
        known, self._known = self._known, {}
        found = []
        for bank in banks:
            live = bank.live()
            numbers = [id(each) for each in live]
            sums = _torch().stack([bank.nothing.long() if each is None else _bits(each).sum() for each in live])
            self._known[bank.device] = numbers, sums
            before_numbers, before = known.get(bank.device, ([], sums))
            if before_numbers != numbers or before.shape != sums.shape:
                continue
            counts = [each is not None and _counts(each) for each in live]
            names = {name for owners, counted in zip(bank.owners, counts, strict=True) if counted for name in owners}
            changed = (sums != before) & _torch().tensor(counts, device=bank.device)
            found.append((bank, bank.sums(changed.float()), names))
        return found


def _counts(parameter: Any) -> bool:
    return bool(parameter.requires_grad and (parameter.ndim > 1 or parameter.element_size() > 2))


def _bits(parameter: Any) -> Any:
    torch = _torch()
    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return parameter.detach().view(whole)


def _torch() -> Any:
    import torch

    return torch
