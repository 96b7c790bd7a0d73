from __future__ import annotations

import pytest

from sessions.services.logs import MAX_MESSAGE_BYTES


@pytest.fixture
def send(session, ingest):
    def post(*lines):
        return ingest.post(f"/api/sessions/{session.key}/logs", {"logs": list(lines)}, format="json")

    return post


def results(answer):
    assert answer.status_code == 200
    return [(each["seq"], each["status"]) for each in answer.json()["results"]]


def test_lines_are_stored(send, session):
    line = {
        "seq": 1,
        "msg": "hello",
        "ts": "2026-11-22T12:00:00Z",
        "level": "warning",
        "kind": "error",
        "logger": "a.b",
    }
    assert results(send(line)) == [(1, "stored")]
    stored = session.logs.get()
    assert (stored.level, stored.kind, stored.logger, stored.ts.hour) == ("WARNING", "error", "a.b", 12)


def test_sending_again_changes_nothing(send, session):
    lines = [{"seq": seq, "msg": f"line {seq}"} for seq in range(3)]
    assert [status for _, status in results(send(*lines))] == ["stored"] * 3
    assert [status for _, status in results(send(*lines))] == ["duplicate"] * 3
    session.refresh_from_db()
    assert session.log_count == session.logs.count() == 3


def test_another_text_is_a_conflict(send, session):
    send({"seq": 1, "msg": "first"})
    assert results(send({"seq": 1, "msg": "second"})) == [(1, "conflict")]
    assert session.logs.get().msg == "first"


def test_lines_without_a_number_get_the_next(send):
    assert results(send({"msg": "a"}, {"seq": 7, "msg": "b"}, {"msg": "c"})) == [
        (8, "stored"),
        (7, "stored"),
        (9, "stored"),
    ]
    assert results(send({"msg": "d"})) == [(10, "stored")]


def test_a_bad_line_does_not_reject_the_others(send, session):
    answer = send({"seq": 1, "msg": "ok"}, {"seq": 2}, {"seq": -3, "msg": "x"}, "text", {"seq": 4, "msg": "ok"})
    assert [status for _, status in results(answer)] == ["stored", "rejected", "rejected", "rejected", "stored"]
    assert list(session.logs.values_list("seq", flat=True)) == [1, 4]


@pytest.mark.parametrize("letter", ["x", "\N{FIRE}"], ids=["ascii", "four bytes each"])
def test_a_long_line_is_cut_with_a_mark(send, session, letter):
    send({"seq": 1, "msg": letter * 10_000})
    stored = session.logs.get().msg
    assert len(stored.encode()) <= MAX_MESSAGE_BYTES
    assert stored.endswith("[cut]")


def test_a_line_of_exactly_the_limit_is_whole(send, session):
    send({"seq": 1, "msg": "x" * MAX_MESSAGE_BYTES})
    assert session.logs.get().msg == "x" * MAX_MESSAGE_BYTES


def test_a_full_batch_is_taken_and_taken_for_granted(send, session):
    lines = [{"seq": seq, "msg": "x"} for seq in range(1000)]
    assert {status for _, status in results(send(*lines))} == {"stored"}
    assert {status for _, status in results(send(*lines))} == {"duplicate"}


def test_more_lines_than_the_limit_are_refused_as_a_whole(send, session):
    answer = send(*({"seq": seq, "msg": "x"} for seq in range(1001)))
    assert (answer.status_code, "1,000" in answer.json()["detail"]) == (413, True)
    assert not session.logs.exists()


@pytest.mark.parametrize("ts", ["noon", "", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_an_absurd_time_is_left_out(send, session, ts):
    assert results(send({"seq": 1, "msg": "x", "ts": ts})) == [(1, "stored")]
    assert session.logs.get().ts is None


def test_lines_are_read_in_order(send, session, as_user, bob):
    send({"seq": 2, "msg": "b"}, {"seq": 1, "msg": "a"})
    body = as_user(bob).get(f"/api/sessions/{session.key}/logs?page_size=1").json()
    assert (body["count"], body["results"][0]["msg"]) == (2, "a")
    assert body["next"].endswith("page=2&page_size=1")


def test_after_the_largest_number_a_line_still_finds_one(send):
    assert results(send({"seq": 2**53 - 1, "msg": "numbered"})) == [(2**53 - 1, "stored")]
    assert results(send({"msg": "not numbered"})) == [(2**53, "stored")]


def test_a_number_that_leaves_no_room_is_rejected(send):
    assert results(send({"seq": 2**63 - 1, "msg": "x"})) == [(2**63 - 1, "rejected")]
