"""How often somebody may knock. Counted in Django's cache, which every process has for itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from time import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from projects.models import ApiKey

View = Callable[..., HttpResponse]
SIGN_IN_SECONDS = 15 * 60
SIGN_INS_OF_A_PAIR = 10
"""Attempts to sign in to one account from one address; enough for a bad memory."""
SIGN_INS = 100
"""Attempts from one address, and to one account: stops one password tried on all accounts, and many addresses."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts what ``who`` does within spans of ``seconds``, each by itself."""

    scope: str
    who: str
    limit: int
    seconds: int

    def note(self) -> bool:
        """Count once more. Returns whether that is within the limit."""
        key = self._key()
        # Counted before it is judged: of many at once no more than the limit get through.
        cache.add(key, 0, self.seconds)
        try:
            return cache.incr(key) <= self.limit
        except ValueError:
            # Dropped meanwhile, the cache being full.
            return True

    def forgive(self) -> None:
        """Take back what was counted last."""
        with contextlib.suppress(ValueError):
            cache.decr(self._key())

    @property
    def seconds_left(self) -> int:
        return self.seconds - int(time()) % self.seconds

    def _key(self) -> str:
        # What strangers type may be long or unprintable, which caches refuse.
        who = sha256(self.who.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.scope}:{who}:{int(time()) // self.seconds}"


class KeyThrottle(BaseThrottle):
    """429 for a key that asks more than `MLDIAG_KEY_REQUESTS_PER_MINUTE`: one program must not keep out all others.

    Clients wait and send again, so that nothing is lost. The open mode has no limit.
    """

    def allow_request(self, request: Request, view: object) -> bool:
        limit = settings.MLDIAG_KEY_REQUESTS_PER_MINUTE
        if not limit or settings.MLDIAG_AUTH == "open" or not isinstance(request.auth, ApiKey):
            return True
        self._tally = Tally("key", str(request.auth.pk), limit, 60)
        return self._tally.note()

    def wait(self) -> float:
        return self._tally.seconds_left


def patient(view: View) -> View:
    """Guard a page that signs in: after too many failures it answers 429, whatever the password is."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        tallies = _sign_ins(request)
        # Each is counted, also behind one that is over its limit.
        within = [tally.note() for tally in tallies]
        if not all(within):
            wait = max(tally.seconds_left for tally in tallies)
            context = {"minutes": -(-wait // 60)}
            refusal = render(request, "429.html", context, status=429)
            refusal.headers["Retry-After"] = str(wait)
            return refusal
        response = view(request, *args, **kwargs)
        if request.user.is_authenticated:
            for tally in tallies:
                tally.forgive()
        return response

    return guarded


def _sign_ins(request: HttpRequest) -> list[Tally]:
    address, account = request.META.get("REMOTE_ADDR") or "", request.POST.get("username", "").strip().casefold()
    return [
        Tally("sign-in", f"{address}\0{account}", SIGN_INS_OF_A_PAIR, SIGN_IN_SECONDS),
        Tally("sign-in-address", address, SIGN_INS, SIGN_IN_SECONDS),
        Tally("sign-in-account", account, SIGN_INS, SIGN_IN_SECONDS),
    ]
