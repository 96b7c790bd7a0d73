"""Every route of the server asks who is there, unless it is on the list below."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

FREE = {
    "accounts/login": "how else to log in",
    "admin/login/": "the admin's own login page",
    "api/schema": "describes the API, holds no data",
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


def routes(resolver=None, prefix=""):
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLResolver):
            yield from routes(entry, path)
        elif isinstance(entry, URLPattern):
            yield path


def address_of(route):
    """Fill the gaps of a route with values that its converters take."""
    fillings = {"int": "1", "uuid": str(uuid4()), "path": "a/b", "slug": "a", "str": "1", None: "1"}
    filled = re.sub(r"<(?:(\w+):)?\w+>", lambda gap: fillings.get(gap[1], "1"), route)
    return "/" + re.sub(r"\(\?P<\w+>.*?\)(?=/|\.|\$|$)", "1", filled).rstrip("$").replace("\\", "")


ROUTES = sorted(set(routes()) - FREE.keys())


def test_there_are_routes():
    assert {"api/sessions", "api/projects", "admin/"} <= set(ROUTES)


def test_the_free_list_has_no_leftovers():
    assert FREE.keys() <= set(routes())


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_nobody_comes_in_without_a_login(route):
    for method in METHODS:
        answer = Client().generic(method, address_of(route))
        if answer.status_code == 302:
            assert "/login" in answer.headers["Location"], f"{method} {route}"
        else:
            assert answer.status_code in (401, 403, 405), f"{method} {route}: {answer.status_code}"
            assert answer.status_code != 405 or method != "GET", f"{method} {route}"
