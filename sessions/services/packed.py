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

    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        return [bytes(blob) for (blob,) in cursor.execute(sql, parameters, binary=True).fetchall()]
