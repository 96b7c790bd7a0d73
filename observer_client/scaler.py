"""The gradient scaler of float16 training: how large its scale is, and how many steps it threw away."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from observer_client.guard import harmless
from observer_client.scalersearch import ScalerSearch
from observer_client.signal_records import LossScale
from observer_client.weak import weakly


class ScalerWatch:
    """Counts the updates of a scaler without waiting for the device that says whether a step was thrown away."""

    def __init__(self) -> None:
        self._scaler: weakref.ref[Any] | None = None
        self._updates = 0
        self._skipped: Any = 0
        self._scale: Any = None
        """The scale as the scaler keeps it: it may be gone with the function that trained."""
        self._search: ScalerSearch | None = None

    @harmless
    def seek(self, model: Any) -> None:
        """Watch the scaler that steps ``model``, once there is one, unless one was told."""
        if self._scaler is None:
            self._end_search()
            self._search = ScalerSearch(model, weakly(self.watch))

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.close()
            self._search = None

    def watch(self, scaler: Any) -> None:
        """Watch ``scaler`` from now on. Raises TypeError for what is no gradient scaler."""
        if not all(callable(getattr(scaler, name, None)) for name in ("update", "get_scale", "unscale_")):
            raise TypeError(f"observe_scaler takes a torch.amp.GradScaler, not a {type(scaler).__name__}")
        self.leave()
        self._scaler = weakref.ref(scaler)
        scaler.update = _Update(scaler, self._counts)

    @harmless
    def _counts(self, scaler: Any) -> None:
        """Look at a scaler that is about to update: it forgets then what it found."""
        if not scaler.is_enabled():
            return
        found = [
            flag for state in scaler._per_optimizer_states.values() for flag in state["found_inf_per_device"].values()
        ]
        if found:
            self._updates += 1
            self._scale = scaler._scale
            whole = sum(flag.detach().to(found[0].device) for flag in found)
            self._skipped = self._skipped + (whole > 0)

    @harmless
    def read(self) -> LossScale | None:
        """Return what happened since the last call, None without an update. Waits for the device."""
        scaler = self._scaler() if self._scaler else None
        updates, skipped = self._updates, self._skipped
        self._updates = self._skipped = 0
        if not updates:
            return None
        scale = float(self._scale if scaler is None else scaler.get_scale())
        return LossScale(scale=scale, updates=updates, skipped=int(skipped))

    def leave(self) -> None:
        """Give the scaler its own method back, and look for none."""
        self._end_search()
        scaler = self._scaler() if self._scaler else None
        if scaler is not None and isinstance(vars(scaler).get("update"), _Update):
            del scaler.update
        self._scaler = None


class _Update:
    """A scaler's ``update`` that is looked at first. A pickled or copied scaler gets its own method back."""

    def __init__(self, scaler: Any, look: Callable[[Any], object]) -> None:
        self._scaler = weakref.ref(scaler)
        self._look = look

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        scaler: Any = self._scaler()
        self._look(scaler)
        return type(scaler).update(scaler, *args, **kwargs)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (self._scaler(), "update")
