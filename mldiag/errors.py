"""What is answered where no view could: JSON to programs, a page to people."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

API = ("/api/", "/diagnostics/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(API):
        return defaults.page_not_found(request, exception)
    hint = " Addresses of the API have no slash at their end." if request.path.endswith("/") else ""
    return JsonResponse({"detail": f"There is nothing at {request.path}.{hint}"}, status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    if not request.path.startswith(API):
        return defaults.server_error(request)
    return JsonResponse({"detail": "The server made a mistake; its log says which."}, status=500)
