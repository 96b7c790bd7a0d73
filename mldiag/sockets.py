"""Who may open a WebSocket at all: pages of this server and programs. What they may hear the consumers ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from mldiag.binding import is_loopback

Application = Callable[[dict[str, Any], Any, Any], Any]


class OwnPagesOnly:
    """Refuse WebSockets that a web page of another origin opens: no browser asks before it sends the cookies along.

    A host name that is not ours is refused, too, since behind it may be another page; and in the open mode other
    machines, as `mldiag.middleware.this_machine_only` does.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        application = self._application if _is_welcome(scope) else WebsocketDenier.as_asgi()
        await application(scope, receive, send)


def _is_welcome(scope: dict[str, Any]) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    address = (scope.get("client") or ["127.0.0.1"])[0]
    if settings.MLDIAG_AUTH == "open" and not is_loopback(address):
        return False
    host = headers.get(b"host", "").lower()
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    origin = headers.get(b"origin")
    return origin is None or origin in settings.CSRF_TRUSTED_ORIGINS or _host_of(origin) == host


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
