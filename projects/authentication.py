"""Who a request comes from: a program with a project's key, or a user with a login."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.utils.timezone import now
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from projects.models import ApiKey
from projects.services import matches, public_part

LONGEST_KEY = 200
NEEDED = ("project", "kind", "digest", "last_used", "expires", "revoked")
LAST_USED_STEP = timedelta(minutes=1)


class KeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer <key>``. The request's ``auth`` is the `ApiKey`, its user is anonymous.

    In the open mode a key that this server does not know is no reason to refuse: the client may carry the
    key of another server in its environment.
    """

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = find_key(text.strip())
        if key is None:
            if settings.MLDIAG_AUTH == "open":
                return None
            raise AuthenticationFailed("This API key is unknown, revoked or expired.")
        _note_use(key)
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="mldiag"'


class LoginAuthentication(SessionAuthentication):
    """The login of the pages. Writes need the CSRF token."""


def find_key(text: str) -> ApiKey | None:
    """Return the usable key with this text. One query."""
    if not text.isascii() or not text.isprintable() or len(text) > LONGEST_KEY:
        return None
    # There is one at most. Each request asks, and an order and a limit take longer to say than the key to find.
    key = next(iter(ApiKey.objects.only(*NEEDED).filter(prefix=public_part(text)).order_by()), None)
    if key is None or not matches(key, text):
        return None
    if key.revoked is not None or (key.expires is not None and key.expires <= now()):
        return None
    return key


def _note_use(key: ApiKey) -> None:
    # Once a minute is enough to tell a used key from a forgotten one, and ingest does not pay a write for it.
    moment = now()
    if key.last_used is None or key.last_used < moment - LAST_USED_STEP:
        stale = Q(last_used=None) | Q(last_used__lt=moment - LAST_USED_STEP)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used=moment)


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the key in the OpenAPI document."""

    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A project's API key."}


class LoginScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = LoginAuthentication
    name = "login"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
