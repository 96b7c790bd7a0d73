"""What a request may do at all. What it may see is the querysets' `visible_to`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from projects.models import ApiKey, KeyKind

if TYPE_CHECKING:
    # The settings name this module, and rest_framework.views reads the settings.
    from rest_framework.views import APIView


class SignedInUnlessOpen(BasePermission):
    """A login or a key, unless the server is open.

    Read keys only read. Ingest keys only write, and only at views that say so by ``open_to_ingest_keys``: a
    view that forgets it stays closed.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, ApiKey):
            return self._key_may(request, request.auth, view)
        return settings.MLDIAG_AUTH == "open" or bool(request.user and request.user.is_authenticated)

    def _key_may(self, request: Request, key: ApiKey, view: APIView) -> bool:
        if key.kind == KeyKind.FULL:
            return True
        if key.kind == KeyKind.READ:
            self.message = "This key may only read."
            return request.method in SAFE_METHODS
        self.message = "This key may only write runs."
        return request.method not in SAFE_METHODS and getattr(view, "open_to_ingest_keys", False)
