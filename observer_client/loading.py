"""How long a training waits for its batches, measured around the loader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, Generic, TypeVar

from observer_client.guard import harmless

Batch = TypeVar("Batch")


class DataWait:
    """Adds up what the batches of one window took to come."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._batches = 0

    @harmless
    def note(self, seconds: float) -> None:
        """Count a batch that took ``seconds`` to come. One without gradients is validation's and does not count."""
        torch = sys.modules.get("torch")
        if torch is None or torch.is_grad_enabled():
            self._seconds += seconds
            self._batches += 1

    def read(self) -> tuple[float, int]:
        """Return seconds and batches since the last call."""
        found = self._seconds, self._batches
        self._seconds, self._batches = 0.0, 0
        return found


class Batches(Generic[Batch]):
    """A loader whose waiting times are measured. In everything else it is the loader: length, attributes, pickle.

    ``look`` is shown each batch, ``ended`` is called after the last one.
    """

    def __init__(
        self,
        loader: Iterable[Batch],
        wait: DataWait,
        look: Callable[[Any], object],
        ended: Callable[[], object],
    ) -> None:
        self._loader = loader
        self._wait = wait
        self._look = look
        self._ended = ended

    def __iter__(self) -> Iterator[Batch]:
        began = perf_counter()
        # What starts the workers of a loader is waited for, too.
        for batch in self._loader:
            self._wait.note(perf_counter() - began)
            self._look(batch)
            yield batch
            began = perf_counter()
        self._ended()

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        # A loader without a length must not be asked for it.
        return bool(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _itself, (self._loader,)


def _itself(loader: Any) -> Any:
    return loader
