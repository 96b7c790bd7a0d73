"""Bodies: compressed, damaged, too large. Nothing is ever stored in part."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest

from tests.conftest import epoch_record

BATCH = json.dumps([epoch_record(number) for number in (4, 5, 6)]).encode()
BOMB = gzip.compress(b"[" + b" " * 200_000_000 + b"]")


@pytest.fixture
def send(session, ingest):
    def post(body, encoding="gzip", **headers):
        address = f"/api/sessions/{session.key}/epochs"
        extra = {"Content-Encoding": encoding, **headers}
        return ingest.post(address, body, content_type="application/json", headers=extra)

    return post


def test_gzip_is_understood(send, session):
    assert send(gzip.compress(BATCH)).status_code == 200
    assert session.steps.count() == 6


def test_two_members_are_one_body(send, session):
    assert send(gzip.compress(BATCH[:100]) + gzip.compress(BATCH[100:])).status_code == 200
    assert session.steps.count() == 6


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(gzip.compress(BATCH)[:-9], 400, id="truncated"),
        pytest.param(gzip.compress(BATCH)[:-8] + b"\0" * 8, 400, id="bad checksum"),
        pytest.param(gzip.compress(BATCH) + b"rubbish", 400, id="rubbish behind"),
        pytest.param(gzip.compress(BATCH) + gzip.compress(b"[]")[:-4], 400, id="truncated second member"),
        pytest.param(BATCH, 400, id="not gzip"),
        pytest.param(b"", 400, id="empty"),
        pytest.param(gzip.compress(b""), 400, id="empty gzip"),
        pytest.param(gzip.compress(BATCH[:-1]), 400, id="half a batch"),
        pytest.param(BOMB, 413, id="bomb"),
    ],
)
def test_a_damaged_body_stores_nothing(send, session, body, status):
    answer = send(body)
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert session.steps.count() == 3


def test_a_bomb_costs_little(send):
    tracemalloc.start()
    send(BOMB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "identity, gzip"])
def test_another_encoding_is_refused_by_name(send, encoding):
    answer = send(BATCH, encoding)
    assert (answer.status_code, "gzip" in answer.json()["detail"]) == (415, True)


def test_identity_is_an_encoding(send):
    assert send(BATCH, "identity").status_code == 200


def test_a_body_over_the_limit_is_refused_by_its_limit(send, settings):
    settings.MLDIAG_MAX_BODY_BYTES = 100
    answer = send(BATCH, "identity")
    assert (answer.status_code, "100 bytes" in answer.json()["detail"]) == (413, True)


def test_a_compressed_body_over_the_limit_is_refused(send, settings):
    settings.MLDIAG_MAX_COMPRESSED_BYTES = 50
    assert send(gzip.compress(BATCH)).status_code == 413


def test_what_unpacks_over_the_limit_is_refused(send, settings):
    settings.MLDIAG_MAX_BODY_BYTES = len(BATCH) - 1
    assert send(gzip.compress(BATCH)).status_code == 413


def test_a_body_of_exactly_the_limit_is_taken(send, settings):
    settings.MLDIAG_MAX_BODY_BYTES = len(BATCH)
    assert send(gzip.compress(BATCH)).status_code == 200


def test_the_limits_hold_for_small_requests_too(session, ingest, settings):
    settings.MLDIAG_MAX_BODY_BYTES = 1000
    answer = ingest.patch(f"/api/sessions/{session.key}", {"config": {"x": "y" * 1000}}, format="json")
    assert answer.status_code == 413


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_another_content_type_is_refused(session, ingest, kind):
    answer = ingest.post(f"/api/sessions/{session.key}/epochs", BATCH, content_type=kind)
    assert answer.status_code == 415
