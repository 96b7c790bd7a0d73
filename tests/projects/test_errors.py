from __future__ import annotations

import pytest
from django.db import IntegrityError, OperationalError
from rest_framework.exceptions import ValidationError

from projects.serializers import error_response
from projects.services import NotAllowed, NotFound, Refused, Taken


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (NotFound("Not here."), 404, {"detail": "Not here."}),
        (NotAllowed("Not you."), 403, {"detail": "Not you."}),
        (Refused("Not so.", "$.name"), 400, {"detail": "Not so.", "path": "$.name"}),
        (Taken("Not again."), 409, {"detail": "Not again."}),
        (ValidationError({"a": [{}, {"b": ["Bad."]}]}), 400, {"detail": "Bad.", "path": "$.a[1].b"}),
        (ValidationError(["Bad."]), 400, {"detail": "Bad.", "path": "$"}),
        (ValidationError({"non_field_errors": ["Bad."]}), 400, {"detail": "Bad.", "path": "$"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_refusal_is_a_sentence(error, status, body):
    answer = error_response(error, {})
    assert (answer.status_code, answer.data) == (status, body)


def test_a_database_that_is_gone_asks_to_come_again():
    answer = error_response(OperationalError("connection refused at 10.0.0.1"), {})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "10.0.0.1" not in answer.data["detail"]


@pytest.mark.parametrize("error", [IntegrityError("x"), KeyError("x"), ValueError("x")])
def test_a_fault_of_ours_is_not_hidden(error):
    assert error_response(error, {}) is None
