"""The least that Django can do to answer what `benchmarks.pages_peer` asks: no middleware, no login, no model.

Served by uvicorn as the application is (``uvicorn benchmarks.pages_floor:application``), on the same database.
"""

from __future__ import annotations

import os
import struct

import django
import msgspec
from django.conf import settings

# Started with the benchmark's environment, which names the application's settings.
if not settings.configured:
    import environ

    database = environ.Env().db_url("DATABASE_URL")
    if "postgresql" in database["ENGINE"]:
        # As the application has it: without one, most of the time would be that of a new connection.
        database["OPTIONS"] = {"pool": True}
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database},
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.environ["SECRET_KEY"],
        USE_TZ=True,
    )
    django.setup(set_prefix=False)

from django.core.handlers.asgi import ASGIHandler  # noqa: E402 - the settings are above
from django.db import connection  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from observer_client.packed import open_packed  # noqa: E402

LATEST = """
SELECT id, name, CAST(metrics AS text) FROM training_trainsession WHERE id IN (
    SELECT id FROM training_trainsession WHERE project_id = %s ORDER BY started DESC, id DESC LIMIT 50
) ORDER BY started DESC, id DESC"""
NUMBERS = "SELECT packed FROM training_trainstep WHERE session_id = %s ORDER BY epoch"


def latest(request: HttpRequest, project: int) -> HttpResponse:
    rows = _rows(LATEST, project)
    lines = [{"id": pk, "name": name, "metrics": msgspec.Raw(text.encode())} for pk, name, text in rows]
    return HttpResponse(msgspec.json.encode({"results": lines}), content_type="application/json")


def curves(request: HttpRequest, sessions: str) -> HttpResponse:
    found = {session: _columns(int(session)) for session in sessions.split(",")}
    return HttpResponse(msgspec.json.encode(found), content_type="application/json")


def _columns(session: int) -> dict[str, tuple[float, ...]]:
    blobs = [bytes(blob) for (blob,) in _rows(NUMBERS, session)]
    layout, start = open_packed(blobs[0])
    numbers = struct.Struct(f"<{len(layout.scalars)}d")
    columns = zip(*(numbers.unpack_from(blob, start) for blob in blobs), strict=True)
    return dict(zip(layout.scalars, columns, strict=True))


def _rows(statement: str, number: int) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [number])
        return list(cursor.fetchall())


urlpatterns = [path("latest/<int:project>", latest), path("curves/<str:sessions>", curves)]
application = ASGIHandler()
