"""Log lines of a session."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from django.db import transaction
from django.db.models import Max
from django.utils.timezone import now

from observer_client.record import LogLine
from projects.services.documents import clean
from projects.services.refusals import Refused
from sessions.models import SessionLog, TrainSession
from sessions.services.epochs import SessionQuery, hold
from sessions.services.items import ItemResult, Status, decode, refused
from sessions.services.moments import moment
from sessions.signals import logs_stored

MAX_MESSAGE_BYTES = 8 * 2**10
CUT = "… [cut]"
LARGEST_SEQ = 2**53 - 1
"""The largest that every JSON reader holds. The column holds more: a line without a number always finds one."""


def store_logs(session: TrainSession | SessionQuery, items: Sequence[bytes | msgspec.Raw]) -> list[ItemResult]:
    """Store the lines of ``session`` that are not there yet; one result an item, in order.

    A line without ``seq`` gets the next free one, so it cannot be told from a re-send. ``session`` and errors
    as for `store_epochs`.
    """
    read = [_read(item) for item in items]
    with transaction.atomic():
        held = hold(session)
        known = _stored(held, [line.seq for line in read if isinstance(line, SessionLog) and line.seq is not None])
        new: dict[int, SessionLog] = {}
        free = _first_free(held, read)
        results = []
        for line in read:
            if isinstance(line, SessionLog) and line.seq is None:
                line.seq, free = free, free + 1
            results.append(_judge(line, known, new) if isinstance(line, SessionLog) else line)
        if new:
            _write(held, list(new.values()))
            logs_stored.send(sender=TrainSession, session=held)
    return results


def shortened(text: str) -> str:
    """Return ``text`` cut to 8 KiB of UTF-8, with a mark."""
    encoded = text.encode()
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return text
    return encoded[: MAX_MESSAGE_BYTES - len(CUT.encode())].decode(errors="ignore") + CUT


def _read(item: bytes | msgspec.Raw) -> SessionLog | ItemResult:
    try:
        record, _ = decode(item, LogLine)
        if record.seq is not None and not 0 <= record.seq <= LARGEST_SEQ:
            raise Refused(f"seq is from 0 to {LARGEST_SEQ:,}.", "$.seq")
    except Refused as refusal:
        return refused(item, refusal)
    return SessionLog(
        seq=record.seq,
        ts=moment(record.ts),
        level=clean(record.level, 20).upper(),
        kind=clean(record.kind, 20).lower(),
        logger=clean(record.logger or "", 200),
        msg=shortened(clean(record.msg)),
    )


def _stored(session: TrainSession, numbers: list[int]) -> dict[int, str]:
    return dict(session.logs.filter(seq__in=numbers).order_by().values_list("seq", "msg")) if numbers else {}


def _first_free(session: TrainSession, read: list[SessionLog | ItemResult]) -> int:
    """Return a number above every line's, of the session and of this batch. Costs no query if none is needed."""
    lines = [line for line in read if isinstance(line, SessionLog)]
    if all(line.seq is not None for line in lines):
        return 0
    highest = session.logs.aggregate(highest=Max("seq"))["highest"]
    return max([-1 if highest is None else highest, *(line.seq for line in lines if line.seq is not None)]) + 1


def _judge(line: SessionLog, known: dict[int, str], new: dict[int, SessionLog]) -> ItemResult:
    before = new[line.seq].msg if line.seq in new else known.get(line.seq)
    if before is None:
        new[line.seq] = line
        return ItemResult(number=line.seq, status=Status.STORED)
    if before == line.msg:
        return ItemResult(number=line.seq, status=Status.DUPLICATE)
    return ItemResult(number=line.seq, status=Status.CONFLICT, error=f"Line {line.seq} is stored with another text.")


def _write(session: TrainSession, lines: list[SessionLog]) -> None:
    for line in lines:
        line.session_id = session.pk
    SessionLog.objects.bulk_create(lines)
    session.log_count += len(lines)
    TrainSession.objects.filter(pk=session.pk).update(log_count=session.log_count, last_seen=now())
