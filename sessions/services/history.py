"""What a session measured over its epochs, as columns."""

from __future__ import annotations

import math
from struct import Struct

from observer_client.packed import open_packed
from observer_client.record import spell
from sessions.models import TrainSession

Column = list[float | str | None]


def metric_history(session: TrainSession) -> dict[str, Column]:
    """Return a list for each scalar that was ever logged, parallel to the list ``epoch``. One query, no JSON.

    ``None`` where an epoch did not log it; NaN and infinity are spelled as on the wire.
    """
    rows: list[tuple[tuple[str, ...], tuple[float, ...]]] = []
    numbers: Column = []
    for number, blob in session.steps.order_by("epoch").values_list("epoch", "packed"):
        numbers.append(number)
        layout, start = open_packed(bytes(blob))
        rows.append((layout.scalars, Struct(f"<{len(layout.scalars)}d").unpack_from(blob, start)))
    if len({names for names, _ in rows}) == 1:
        # The usual case: all epochs logged the same.
        columns = dict(zip(rows[0][0], map(list, zip(*(values for _, values in rows), strict=True)), strict=True))
    else:
        every = dict.fromkeys(name for names, _ in rows for name in names)
        found = [dict(zip(names, values, strict=True)) for names, values in rows]
        columns = {name: [each.get(name) for each in found] for name in every}
    said: dict[str, Column] = {name: _spelled(values) for name, values in columns.items() if name != "attempt"}
    return {**said, "epoch": numbers}


def _spelled(values: list[float | None]) -> Column:
    present = [value for value in values if value is not None]
    if all(map(math.isfinite, present)):
        return list(values)
    return [value if value is None or math.isfinite(value) else spell(value) for value in values]
