"""The numbers of a session's epochs, as they are stored."""

from __future__ import annotations

from typing import Any

from django.db import connection

from sessions.models import TrainSession


def packed_epochs(session: TrainSession) -> list[bytes]:
    """Return the packed epochs of a session (`observer_client.packed`) in their order. One query, no JSON."""
    blobs = session.steps.order_by("epoch").values_list("packed", flat=True)
    if connection.vendor == "postgresql":
        return _as_they_are(*blobs.query.sql_with_params())
    return [bytes(blob) for blob in blobs]


def _as_they_are(sql: str, parameters: tuple[Any, ...]) -> list[bytes]:
    # Django's own cursor gets bytes as text, in which each of them is two digits: reading them is most of the time.
    from psycopg import Cursor
    from psycopg.pq import Format

    connection.ensure_connection()
    raw = Cursor(connection.connection)
    raw.format = Format.BINARY
    # Within Django's wrapper its errors are Django's, and its query is counted with all others.
    wrapped = connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw)
    with wrapped as cursor:
        cursor.execute(sql, parameters)
        return [bytes(blob) for (blob,) in cursor.fetchall()]
