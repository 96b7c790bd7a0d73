"""The batches that a loader hands to the user's own loop, and where a pass over it ends."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, SupportsIndex

from observer_client.guard import harmless
from observer_client.hooks import tensors


def samples_in(batch: Any) -> int | None:
    """Return the number of samples of ``batch`` by its first tensor, None when that has no dimension.

    >>> samples_in({"step": 3}) is None
    True
    """
    found = tensors(batch)
    return int(found[0].shape[0]) if found and len(found[0].shape) else None


class LoaderTap:
    """Watches the passes over ``loader`` until `close`, without a change of the loop.

    ``began`` is called when a pass begins while none is under way, ``came`` with each batch and the seconds that it
    took to come, ``ended`` when the last pass that was under way is over, exhausted or broken off: a look at one batch
    in the middle of an epoch ends nothing.

    Raises TypeError for what cannot be watched: a list, a generator.
    """

    def __init__(
        self,
        loader: Any,
        *,
        began: Callable[[], object],
        came: Callable[[Any, float], object],
        ended: Callable[[], object],
    ) -> None:
        self.loader: Iterable[Any] = loader
        self._began, self._came, self._ended = began, came, ended
        self._passes = 0
        self._kind = type(loader)
        # ``iter`` asks the type, so the loader gets a type of its own that is the same in everything else.
        self._watched = _subclass(self._kind, self._open)
        object.__setattr__(loader, "__class__", self._watched)

    def _open(self, batches: Iterator[Any]) -> Iterator[Any]:
        self._passes += 1
        if self._passes == 1:
            self._began()
        return _Pass(batches, self._came, self._over)

    @harmless
    def _over(self) -> None:
        self._passes -= 1
        if not self._passes:
            self._ended()

    def close(self) -> None:
        """Make the loader what it was."""
        self._began = self._ended = _nothing
        self._came = _nothing
        if type(self.loader) is self._watched:
            object.__setattr__(self.loader, "__class__", self._kind)


def _nothing(*news: object) -> None:
    """Take the place of a closed run: a pass that is still under way must not keep it alive."""


def _subclass(kind: Any, opened: Callable[[Iterator[Any]], Iterator[Any]]) -> Any:
    def iterate(self: Any) -> Iterator[Any]:
        return opened(kind.__iter__(self))

    def reduce(self: Any, protocol: SupportsIndex) -> Any:
        # In a copy, or in another process, a loader is the plain one.
        make, (*arguments,), *rest = kind.__reduce_ex__(self, protocol)
        if make is copyreg.__newobj__:  # type: ignore[attr-defined]
            # Pickle insists that it makes an object of the type that it was given.
            make = object.__new__
        return make, tuple(kind if each is watched else each for each in arguments), *rest

    members = {"__iter__": iterate, "__reduce_ex__": reduce, "__module__": kind.__module__, "__doc__": kind.__doc__}
    watched = type(kind.__name__, (kind,), {**members, "__slots__": (), "__qualname__": kind.__qualname__})
    return watched


class _Pass:
    """One pass over a loader. In everything else it is the loader's own iterator."""

    def __init__(
        self, batches: Iterator[Any], came: Callable[[Any, float], object], over: Callable[[], object]
    ) -> None:
        self._batches = batches
        self._came = came
        self._over: Callable[[], object] | None = over

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        began = perf_counter()
        try:
            batch = next(self._batches)
        except BaseException:
            self._leave()
            raise
        self._came(batch, perf_counter() - began)
        return batch

    def _leave(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    def __del__(self) -> None:
        # A loop that was broken off lets go of its iterator.
        self._leave()

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name in ("_batches", "_over"):
            raise AttributeError(name)
        return getattr(self._batches, name)
