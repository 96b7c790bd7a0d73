"""Whether validation samples are training samples, too: compares 64-bit hashes of what lies in the two data sets.

A data set that holds its samples in one tensor or array is read by a thread of low demands while the training goes
on; so are the file names of an image folder. No item of any other data set is asked for, since that would run the
user's code and draw its random numbers: its samples are hashed as they come through `Observer.data`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from observer_client.guard import harmless
from observer_client.hooks import tensors
from observer_client.signal_records import DataFigures

MOST = {"train": 1_000_000, "val": 100_000}
"""Samples looked at of each."""
WIDEST = 2**16
"""Numbers of one sample that are hashed, evenly spread."""
_CHUNK = 2**15
# Numbers hashed at a time: few enough for torch to use one thread, the training has the others.


class SampleWatch:
    """Compares two data sets once. ``add_to`` tells the result from the time on when it is known."""

    def __init__(self) -> None:
        self._found: DataFigures | None = None
        self._streams: dict[int, _Stream] = {}
        self.reading: threading.Thread | None = None

    def watch(self, train: Any, val: Any) -> None:
        """Compare the samples of two loaders or data sets."""
        sides = {"train": train, "val": val}
        sources = {split: _source(side, MOST[split]) for split, side in sides.items()}
        self._found, self._streams = None, {}
        if all(source is not None for source in sources.values()):
            self.reading = threading.Thread(target=self._read, args=(sources,), name="mldiag-samples", daemon=True)
            self.reading.start()
        else:
            self._streams = {id(side): _Stream(split) for split, side in sides.items()}

    @harmless
    def _read(self, sources: dict[str, Callable[[], Iterator[Any]]]) -> None:
        torch = _torch()
        hashes = {split: list(source()) for split, source in sources.items()}
        if all(hashes.values()):
            self._found = _compare(torch.cat(hashes["train"]), torch.cat(hashes["val"]))

    @harmless
    def look(self, loader: Any, batch: Any) -> None:
        """Hash a batch of one of the two loaders, in its first pass."""
        stream = self._streams.get(id(loader))
        if stream is not None and not stream.ended and (found := tensors(batch)):
            stream.add(found[0])

    def ended(self, loader: Any) -> None:
        """Say that a loader gave its last batch: what comes again is not looked at."""
        if (stream := self._streams.get(id(loader))) is not None:
            stream.ended = True

    @harmless
    def add_to(self, figures: DataFigures) -> None:
        """Add the result to ``figures``, if there is one."""
        if self._streams and all(stream.ended and stream.hashes for stream in self._streams.values()):
            by_split = {stream.split: _torch().cat(stream.hashes) for stream in self._streams.values()}
            self._streams = {}
            if len(by_split) == 2:
                self._found = _compare(by_split["train"], by_split["val"])
        if self._found is not None:
            for name in ("train_samples", "val_samples", "overlap_share", "duplicate_share"):
                setattr(figures, name, getattr(self._found, name))


class _Stream:
    """Hashes of what a loader gives in its first pass."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.hashes: list[Any] = []
        self.ended = False
        self._count = 0

    def add(self, rows: Any) -> None:
        """Hash the samples of a batch, [samples, ...]."""
        if rows.ndim and len(rows):
            self.hashes += [each.cpu() for each in _row_hashes(rows)]
            self._count += len(rows)
            self.ended = self._count >= MOST[self.split]


def _compare(train: Any, val: Any) -> DataFigures:
    torch = _torch()
    known, asked = train.unique(), val.unique()
    return DataFigures(
        train_samples=len(known),
        val_samples=len(asked),
        overlap_share=int(torch.isin(asked, known).sum()) / len(asked),
        duplicate_share=1 - len(known) / len(train),
    )


def _source(side: Any, most: int) -> Callable[[], Iterator[Any]] | None:
    """Return what yields the hashes of a data set's samples, None where only its items could tell."""
    data, places = _resolved(side)
    rows, names = _rows(data), _names(data)
    if rows is not None:
        return lambda: _hashes(rows, _picked(len(rows), places, most))
    if names is not None:
        return lambda: _name_hashes([names[place] for place in _picked(len(names), places, most)])
    return None


def _resolved(data: Any) -> tuple[Any, Sequence[int] | None]:
    """Follow a loader, and subsets of subsets, down to the data set itself and the places in it."""
    places: Sequence[int] | None = None
    data = data if hasattr(data, "indices") else getattr(data, "dataset", data)
    while hasattr(data, "indices") and hasattr(data, "dataset"):
        own = [int(each) for each in data.indices]
        places = own if places is None else [own[place] for place in places]
        data = data.dataset
    return data, places


def _rows(data: Any) -> Any:
    """Return the inputs of all samples where they lie in one tensor or array, [samples, ...]."""
    held: Any = getattr(data, "tensors", None)
    if isinstance(held, (tuple, list)) and held:
        held = held[0]
    elif held is None:
        # As the small image sets of torchvision keep them.
        held = data if hasattr(data, "dtype") else getattr(data, "data", None)
    usable = hasattr(held, "dtype") and getattr(held, "ndim", 0) > 0 and hasattr(held, "reshape")
    return held if usable and hasattr(data, "__len__") and len(held) == len(data) > 0 else None


def _names(data: Any) -> list[str] | None:
    found = getattr(data, "samples", None)
    if isinstance(found, list) and found and isinstance(found[0], tuple) and isinstance(found[0][0], str):
        return [str(each[0]) for each in found]
    return None


def _picked(length: int, places: Sequence[int] | None, most: int) -> Sequence[int]:
    every = range(length) if places is None else places
    return every[:: max(1, -(-len(every) // most))]


def _hashes(rows: Any, places: Sequence[int]) -> Iterator[Any]:
    torch = _torch()
    for at in range(0, len(places), 256):
        picked = list(places[at : at + 256])
        # A copy: an array may be read-only, which torch warns of.
        chosen = rows[picked] if hasattr(rows, "is_cpu") else torch.tensor(rows[picked])
        yield from (each.cpu() for each in _row_hashes(chosen))


def _row_hashes(rows: Any) -> Iterator[Any]:
    """Yield the hashes of ``rows``, [samples, ...], some at a time as int64.

    A weighted sum of the bits with fixed random weights modulo 2^64 (multilinear hashing; Lemire and Kaser, Computer
    Journal 57 (2014) 1624): equal rows give equal sums, others with a probability of about 2^-32 at most.
    """
    torch = _torch()
    flat = rows.detach().reshape(len(rows), -1)
    flat = flat[:, :: max(1, -(-flat.shape[1] // WIDEST))].contiguous()
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if flat.is_complex():
        flat = torch.view_as_real(flat).flatten(1)
    bits = flat.view(kinds[flat.element_size()])
    made = torch.Generator().manual_seed(20_240_229)
    weights = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=made).to(bits.device)
    step = max(1, _CHUNK // max(1, bits.shape[1]))
    for at in range(0, len(bits), step):
        yield (bits[at : at + step].long() * weights).sum(1)


def _name_hashes(names: Sequence[str]) -> Iterator[Any]:
    from hashlib import blake2b  # Only here: few data sets are folders.

    digests = [int.from_bytes(blake2b(each.encode(), digest_size=8).digest(), "big", signed=True) for each in names]
    yield _torch().tensor(digests)


def _torch() -> Any:
    import torch  # Its data sets are compared, so it is there.

    return torch
