"""Who may come in: nobody without a login, and in the open mode no other machine and no web page of somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, JsonResponse
from servestatic.middleware import ServeStaticMiddleware

from mldiag.binding import is_loopback

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
SAME_SITE = frozenset({"same-origin", "none"})


def static_files(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Serve static files; all other requests go on in the thread that they are in.

    `ServeStaticMiddleware` alone is asynchronous, so that each request would change threads for it, twice.
    """
    files = ServeStaticMiddleware(sync_to_async(get_response))
    served = async_to_sync(files)

    def middleware(request: HttpRequest) -> HttpResponse:
        return served(request) if request.path_info.startswith(files.static_prefix) else get_response(request)

    return middleware


def this_machine_only(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse other machines in the open mode, however the server was started.

    ``mldiag serve`` looks where it binds; ``runserver 0.0.0.0:8000`` does not, and a Host header can be made up.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        # There is no address behind a Unix socket.
        address = request.META.get("REMOTE_ADDR") or "127.0.0.1"
        if settings.MLDIAG_AUTH == "open" and not is_loopback(address):
            return JsonResponse({"detail": "Without a login this server is for its own machine only."}, status=403)
        return get_response(request)

    return middleware


def same_origin_writes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse writes that a web page of another origin sends, in the open mode.

    There no login protects the server, and a page that the user happens to visit could post to 127.0.0.1.
    Browsers always say where a write comes from; programs (curl, the client) say nothing and pass.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if settings.MLDIAG_AUTH == "open" and request.method not in SAFE_METHODS and _is_foreign(request):
            return JsonResponse({"detail": "Writes from a web page of another origin are refused."}, status=403)
        return get_response(request)

    return middleware


def _is_foreign(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return False
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in SAME_SITE:
        return True
    if origin is None:
        return False
    # "null", which sandboxed pages and local files send, has no host and is foreign.
    try:
        return urlsplit(origin).netloc.lower() != request.get_host().lower()
    except ValueError:
        return True


class LoginRequiredUnlessOpen(LoginRequiredMiddleware):
    """Pages need a login, unless the server is open. The API asks for itself (`projects.permissions`)."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., HttpResponse], view_args: Any, view_kwargs: Any
    ) -> HttpResponse | None:
        if settings.MLDIAG_AUTH == "open":
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)
