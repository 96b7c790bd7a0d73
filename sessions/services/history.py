"""What sessions measured over their epochs, as columns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import NamedTuple, Self

from django.db.models import BinaryField, Case, F, Func, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.lookups import Exact

from observer_client.packed import MAGIC, open_packed
from observer_client.record import spell
from projects.services.refusals import Refused
from sessions.models import TrainSession, TrainStep

MOST_EPOCHS = 200_000
MOST_NUMBERS = 20 * MOST_EPOCHS
"""Of how many epochs, and of how many numbers of theirs, one answer is made at most: it takes 80 MB."""
ROWS_AT_ONCE = 500
"""Epochs whose layouts differ are read whole, and each may take megabytes."""
Column = list[float | str | None]
History = dict[str, Column]


class _Layout(NamedTuple):
    """What stands before the scalars of a packed epoch, where they end, and their names."""

    head: bytes
    end: int
    scalars: tuple[str, ...]

    @classmethod
    def of(cls, blob: bytes) -> Self:
        layout, start = open_packed(blob)
        return cls(blob[:start], start + layout.matrix_offset, layout.scalars)

    def numbers(self, blob: bytes) -> bytes:
        return blob[len(self.head) : self.end]


def metric_histories(
    sessions: Sequence[int], *, names: Collection[str] = (), first: int = 0, last: int | None = None
) -> dict[int, History]:
    """Return, by session, a list for each scalar that was ever logged, parallel to the list ``epoch``.

    ``names`` leaves out all scalars but those; ``first`` and ``last`` bound the epochs. ``None`` where an epoch did
    not log it; NaN and infinity are spelled as on the wire. Two queries, no JSON. Raises Refused for too many epochs,
    or numbers.
    """
    steps = TrainStep.objects.filter(epoch__gte=first)
    if last is not None:
        steps = steps.filter(epoch__lte=last)
    layouts, number = _layouts(steps, sessions)
    asked = steps.filter(session__in=sessions).order_by("session", "epoch")
    rows = asked.values_list("session", "epoch", _scalars_of(layouts))[: MOST_EPOCHS + 1]
    # What comes at once anyway needs no cursor, which PostgreSQL takes two milliseconds for.
    found = _read(rows if number <= ROWS_AT_ONCE else rows.iterator(chunk_size=ROWS_AT_ONCE), layouts)
    return {each: _history(found.get(each, _Read()), frozenset(names)) for each in sessions}


def metric_history(session: TrainSession) -> History:
    """Return the `metric_histories` of one session."""
    return metric_histories([session.pk])[session.pk]


def _layouts(steps: QuerySet[TrainStep], sessions: Sequence[int]) -> tuple[dict[int, _Layout], int]:
    """Return the layout of each session's latest epoch, which nearly all its others share byte for byte, and how many
    epochs the sessions have."""
    latest = steps.filter(session=OuterRef("pk")).order_by("-epoch").values("packed")[:1]
    asked = TrainSession.objects.filter(pk__in=sessions).order_by()
    rows = list(asked.values_list("pk", "epoch_count", Subquery(latest)))
    layouts = {session: _Layout.of(bytes(blob)) for session, _, blob in rows if blob is not None}
    return layouts, sum(count for _, count, _ in rows)


def _scalars_of(layouts: Mapping[int, _Layout]) -> Case | F:
    """Return an epoch's scalars as bytes if it has its session's layout, else all that is packed.

    The statistics of the layers, which the answer leaves out, are most of what is packed: they stay in the database.
    """
    sharing: dict[_Layout, list[int]] = {}
    for session, layout in layouts.items():
        sharing.setdefault(layout, []).append(session)
    cases = [
        When(
            Q(Exact(_part(0, len(layout.head)), Value(layout.head, output_field=BinaryField())), session__in=own),
            then=_part(len(layout.head), layout.end),
        )
        for layout, own in sharing.items()
    ]
    return Case(*cases, default=F("packed"), output_field=BinaryField())


def _part(start: int, end: int) -> Func:
    return Func(F("packed"), Value(start + 1), Value(end - start), function="SUBSTR", output_field=BinaryField())


@dataclass(slots=True)
class _Read:
    """The epochs of one session, and what they logged: neighbors with the same scalars share a block, which holds
    their names and the numbers of each epoch."""

    epochs: list[int] = field(default_factory=list)
    blocks: list[tuple[tuple[str, ...], list[bytes]]] = field(default_factory=list)

    def add(self, epoch: int, scalars: tuple[str, ...], numbers: bytes) -> None:
        self.epochs.append(epoch)
        if not self.blocks or self.blocks[-1][0] != scalars:
            self.blocks.append((scalars, []))
        self.blocks[-1][1].append(numbers)


def _read(rows: Iterable[tuple[int, int, bytes]], layouts: Mapping[int, _Layout]) -> dict[int, _Read]:
    read: dict[int, _Read] = defaultdict(_Read)
    number = 0
    for place, (session, epoch, found) in enumerate(rows):
        usual = layouts.get(session)
        # Scalars begin with the number of the epoch, of which no bytes are like these.
        if usual is None or found.startswith(MAGIC):
            layout = _Layout.of(found)
            scalars, numbers = layout.scalars, layout.numbers(found)
        else:
            scalars, numbers = usual.scalars, found
        number += len(scalars)
        if place >= MOST_EPOCHS:
            raise Refused(f"That is more than {MOST_EPOCHS:,} epochs. Ask for a part of them.", "?first")
        if number > MOST_NUMBERS:
            raise Refused(f"That is more than {MOST_NUMBERS:,} numbers. Ask for a part of the epochs.", "?first")
        read[session].add(epoch, scalars, numbers)
    return read


def _history(read: _Read, names: frozenset[str]) -> History:
    # The epoch is known; nobody draws the attempt.
    every = dict.fromkeys(name for scalars, _ in read.blocks for name in scalars if name not in ("epoch", "attempt"))
    tables = [(_columns(scalars, parts), len(parts)) for scalars, parts in read.blocks]
    history: History = {"epoch": list(read.epochs)}
    for name in every:
        if not names or name in names:
            parts = [table.get(name, [None] * size) for table, size in tables]
            history[name] = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
    return history


def _columns(scalars: tuple[str, ...], parts: list[bytes]) -> dict[str, Column]:
    width = len(scalars)
    numbers = Struct(f"<{width * len(parts)}d").unpack(b"".join(parts))
    return {name: _spelled(numbers[place::width]) for place, name in enumerate(scalars)}


def _spelled(values: Sequence[float]) -> Column:
    # The sum of finite numbers may be too large, and then each is looked at.
    if math.isfinite(sum(values)):
        return list(values)
    return [value if math.isfinite(value) else spell(value) for value in values]
