"""Times that clients tell. Their clocks may be wrong, and nothing is ordered by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils.timezone import now

TOLERANCE = timedelta(minutes=5)


def moment(text: str | None) -> datetime | None:
    """Return an ISO 8601 time in UTC, None if it cannot be read. Without an offset it is UTC.

    >>> moment("2026-11-22T13:00:00+01:00").isoformat()
    '2026-11-22T12:00:00+00:00'
    """
    if not text:
        return None
    try:
        told = datetime.fromisoformat(text)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def past_moment(text: str | None) -> datetime:
    """Return the time told, or the server's where none was told or the client's clock is ahead."""
    told, here = moment(text), now()
    return here if told is None or told > here + TOLERANCE else told
