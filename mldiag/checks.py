"""System checks: a server that strangers could use does not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

MODES = ("open", "required")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@register(Tags.security)
def access_mode(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The open mode is for this machine only."""
    if settings.MLDIAG_AUTH not in MODES:
        return [
            Error(
                f"MLDIAG_AUTH is {settings.MLDIAG_AUTH!r}.",
                hint=f"Set it to one of {', '.join(MODES)}.",
                id="mldiag.E001",
            )
        ]
    strangers = [host for host in settings.ALLOWED_HOSTS if host not in LOOPBACK]
    if settings.MLDIAG_AUTH == "open" and strangers:
        return [
            Error(
                f"Without a login anybody could use this server as {', '.join(strangers)}.",
                hint="Set MLDIAG_AUTH=required, or ALLOWED_HOSTS to localhost,127.0.0.1,[::1].",
                id="mldiag.E002",
            )
        ]
    return []


@register(Tags.security)
def debug_mode(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Error pages of DEBUG show settings and data to whoever causes an error."""
    if settings.DEBUG and any(host not in LOOPBACK for host in settings.ALLOWED_HOSTS):
        return [
            Error(
                "DEBUG is on, and other machines may reach this server.",
                hint="Set DEBUG=false, or ALLOWED_HOSTS to localhost,127.0.0.1,[::1].",
                id="mldiag.E003",
            )
        ]
    return []


@register(Tags.security)
def secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Logins and API keys rest on this secret, on every server and not only on deployed ones."""
    if len(settings.SECRET_KEY) < 32 or len(set(settings.SECRET_KEY)) < 5:
        return [
            Error(
                "SECRET_KEY can be guessed.",
                hint="Leave it empty and one is made and kept in MLDIAG_HOME, or set 50 random characters.",
                id="mldiag.E004",
            )
        ]
    return []


@register(Tags.database)
def small_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Several worker processes on SQLite work, slowly: it lets one of them write at a time."""
    if settings.REDIS_URL and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return [
            Warning(
                "Redis brings work to several processes, but they all write to one SQLite file.",
                hint="Set DATABASE_URL to a PostgreSQL database.",
                id="mldiag.W001",
            )
        ]
    return []
