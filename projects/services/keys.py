"""Keys of programs: made, found again by a digest, ended."""

from __future__ import annotations

import secrets
import string
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.timezone import now

from projects.models import ApiKey, KeyKind, Project

ALPHABET = string.ascii_letters + string.digits
SECRET_LENGTH = 40
PUBLIC_LENGTH = 8


def issue_key(
    project: Project,
    kind: str,
    *,
    name: str = "",
    created_by: AbstractBaseUser | AnonymousUser | None = None,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its text, which exists nowhere else: only a digest is stored."""
    maker = created_by.pk if created_by is not None and created_by.is_authenticated else None
    text = f"mld_{KeyKind(kind).value}_" + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    key = ApiKey.objects.create(
        project=project,
        kind=kind,
        name=name,
        prefix=public_part(text),
        digest=digest(text),
        created_by_id=maker,
        expires=expires,
    )
    return key, text


def revoke_key(key: ApiKey) -> None:
    """End a key at once. Revoking twice keeps the first date."""
    ApiKey.objects.filter(pk=key.pk, revoked=None).update(revoked=now())
    key.refresh_from_db(fields=["revoked"])


def public_part(text: str) -> str:
    """Return the part of a key that may be shown and looked up.

    >>> public_part("mld_ing_abcdefghijkl")
    'mld_ing_abcdefgh'
    """
    head, _, secret = text.rpartition("_")
    return f"{head}_{secret[:PUBLIC_LENGTH]}"


def digest(text: str, signer: str | None = None) -> str:
    """Return what is stored of a key: HMAC-SHA256 under the server's secret (or ``signer``), in hex."""
    return salted_hmac("projects.ApiKey", text, secret=signer, algorithm="sha256").hexdigest()


def matches(key: ApiKey, text: str) -> bool:
    """Whether ``text`` is that key, in constant time; also under a secret that was rotated out lately."""
    signers = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(key.digest, digest(text, signer)) for signer in signers)
