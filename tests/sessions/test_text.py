"""Text of strangers: whatever it is, it never breaks the server, and both databases store the same."""

from __future__ import annotations

import json

import pytest

TEXTS = {
    "nul": "a\0b",
    "lone surrogate": "a\ud800b",
    "low surrogate first": "\udc00\ud800",
    "emoji": "\N{FIRE}",
    "right to left override": "\u202eabc",
    "markup": "<script>alert(1)</script>",
    "quotes": "'\"; DROP TABLE",
    "terminal escape": "\x1b[31m",
    "last of all": "\U0010ffff",
}


@pytest.fixture(params=TEXTS.values(), ids=TEXTS.keys())
def text(request):
    return request.param


def repaired(text):
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)


def post(client, address, document, method="post"):
    return getattr(client, method)(address, json.dumps(document), content_type="application/json")


def test_in_a_layer_name(session, ingest, text):
    record = {"epoch": 4, "layer_health": {"layers": {text: {"weight_norm": 1.0}}}}
    answer = post(ingest, f"/api/sessions/{session.key}/epochs", [record])
    assert answer.json()["results"][0]["status"] == "stored"
    assert list(session.steps.get(epoch=4).record().layer_health.layers) == [repaired(text)]


def test_in_a_log_line(session, ingest, text):
    line = {"seq": 1, "msg": text, "logger": text, "level": text, "kind": text}
    answer = post(ingest, f"/api/sessions/{session.key}/logs", [line])
    assert answer.json()["results"][0]["status"] == "stored"
    assert session.logs.get().msg == repaired(text)


def test_in_what_describes_a_session(session, ingest, as_user, alice, text):
    fields = {"environment": {text: [text]}, "config": {"x": {text: 1}}, "tags": [text], "run_name": f"r{text}"}
    answer = post(ingest, f"/api/sessions/{session.key}", fields, "patch")
    assert answer.status_code == 200
    read = as_user(alice).get(f"/api/sessions/{session.key}").json()
    assert read["environment"] == {repaired(text): [repaired(text)]}


def test_in_a_model(session, ingest, text):
    body = {"model_class": text, "layers": {text: {"type": text}}, "more": text}
    assert post(ingest, f"/api/sessions/{session.key}/model", body, "put").status_code == 200
    session.refresh_from_db()
    assert session.model.model_class == repaired(text)


def test_in_an_ending(session, ingest, text):
    answer = post(ingest, f"/api/sessions/{session.key}/finish", {"status": "crashed", "reason": text})
    assert answer.status_code == 200
    session.refresh_from_db()
    assert session.reason == repaired(text)


ABSURD = {
    "empty": b"",
    "null": b"null",
    "number": b"7",
    "string": b'"x"',
    "empty object": b"{}",
    "list": b"[]",
    "half an object": b'{"epochs": [',
    "depth": b"[" * 100_000,
    "closed depth": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "depth of 500": b'{"run_name":' + b"[" * 500 + b"]" * 500 + b"}",
    "integer of 5,000 digits": b'{"epoch": ' + b"1" * 5000 + b"}",
    "integer of 4,000 digits": b'{"hyperparameters": {"n": ' + b"1" * 4000 + b"}}",
    "epoch of 4,000 digits": b'[{"epoch": ' + b"1" * 4000 + b"}]",
    "count of 400 digits": b'[{"epoch": 4, "loss": {"n_batches": ' + b"1" * 400 + b"}}]",
    "byte order mark": b"\xef\xbb\xbf[]",
    "utf-16": '{"epochs": []}'.encode("utf-16"),
    "not utf-8": b'{"run_name": "\xff\xfe"}',
    "raw control character": b'{"run_name": "\x00"}',
    "duplicate keys": b'{"run_name": "a", "run_name": "b"}',
    "many keys": b'{"hyperparameters": {' + b",".join(b'"%d": 0' % n for n in range(100_000)) + b"}}",
    "html": b"<html></html>",
}
DOORS = [("put", ""), ("patch", ""), ("put", "/model"), ("post", "/epochs"), ("post", "/logs"), ("post", "/heartbeat")]


@pytest.mark.parametrize(("method", "door"), DOORS, ids=[f"{method} {door}" for method, door in DOORS])
@pytest.mark.parametrize("body", ABSURD.values(), ids=ABSURD.keys())
def test_an_absurd_body_is_never_a_fault_of_the_server(session, ingest, method, door, body):
    answer = getattr(ingest, method)(f"/api/sessions/{session.key}{door}", body, content_type="application/json")
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json()["detail"]


@pytest.mark.parametrize("key", ["0", "9" * 18, "9" * 40, "-1", "²", "%00", "a b", "..", "a" * 3000])
def test_an_absurd_address_is_not_found(session, as_user, alice, key):
    assert as_user(alice).get(f"/api/sessions/{key}").status_code == 404
