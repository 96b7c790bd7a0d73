"""What happens to the records when the network or the server fails."""

from __future__ import annotations

import json
import time

import pytest

from observer_client.sync import sync
from tests.client.conftest import records, wait_until
from tests.client.server import Fault, IngestServer


def train(observer, epochs=3):
    for epoch in range(epochs):
        for step in range(4):
            observer.step(step, 1.0 / (epoch + 1), batch_size=2)
        observer.flush(val_loss=0.5)


def sent(observer):
    return json.loads((observer.folder / "sent.json").read_bytes())


def arrived(server, epochs=3):
    """Every epoch is there, and was stored once."""
    return sorted(server.session.epochs) == [(epoch, 0) for epoch in range(epochs)]


def test_all_is_well(server, observe):
    observer = observe(server)
    train(observer)
    observer.close()
    assert arrived(server)
    assert set(server.session.received.values()) == {1}
    assert sent(observer)["seq"] == len(records(observer))
    assert observer.outcome.diagnosis["health_score"] == 73


def test_the_server_comes_up_late(observe, hasty):
    server = IngestServer()
    server.stop()
    observer = observe(server)
    train(observer)
    server.start()
    wait_until(lambda: server.sessions and len(server.session.epochs) == 3)
    observer.close()
    server.stop()
    assert arrived(server) and observer.outcome.pending == 0


def test_the_server_goes_away_in_the_middle(server, observe, hasty, caplog):
    observer = observe(server)
    train(observer, 1)
    wait_until(lambda: observer._recording.spool.pending == 0)
    server.stop()
    observer.flush()
    wait_until(lambda: "training goes on" in caplog.text)
    server.start()
    observer.flush()
    observer.close()
    assert arrived(server)
    assert caplog.text.count("training goes on") == 1


def test_the_server_never_comes_then_sync(observe, tmp_path, capsys, hasty):
    server = IngestServer()
    server.stop()
    observer = observe(server)
    train(observer)
    observer.close()
    assert f"records kept in {observer.folder}; run: mldiag-observer sync" in capsys.readouterr().err
    server.start()
    result = sync(tmp_path / "runs", server.url)
    assert (result.complete, result.runs, result.sent) == (True, 1, len(records(observer)))
    assert arrived(server)
    assert sync(tmp_path / "runs", server.url).sent == 0
    assert set(server.session.received.values()) == {1}
    server.stop()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(500), id="500"),
        pytest.param(Fault(429, headers={"Retry-After": "0"}), id="too many requests"),
        pytest.param(Fault(200, body=b"<html>Please log in</html>"), id="a login page"),
        pytest.param(Fault(200, body=b'{"results": []}', where="/epochs"), id="a receipt for nothing"),
        pytest.param(Fault(None), id="breaks off"),
        pytest.param(Fault(None, where="/epochs", after_storing=True), id="breaks off after storing"),
        pytest.param(Fault(503, where="/finish"), id="fails at the end only"),
    ],
)
def test_a_passing_fault_loses_and_doubles_nothing(server, observe, hasty, fault):
    fault.times = 3
    server.fault = fault
    observer = observe(server)
    train(observer)
    wait_until(lambda: fault.times == 0 or fault.where == "/finish")
    wait_until(lambda: server.sessions)
    observer.close()
    assert arrived(server)
    assert server.session.ending["status"] == "finished"


def test_the_score_arrives_though_the_ending_was_sent_before_close(server, observe):
    observer = observe(server)
    observer._crashed(ValueError("nobody caught it"))
    wait_until(lambda: server.sessions and server.session.ending)
    observer.close()
    assert observer.outcome.diagnosis["health_score"] == 73
    assert server.session.ending["status"] == "crashed"


def test_a_lasting_fault_keeps_everything_on_disk(server, observe, hasty, tmp_path):
    server.fault = Fault(500)
    observer = observe(server)
    train(observer)
    observer.close()
    assert observer.outcome.pending == len(records(observer))
    server.fault = None
    assert sync(tmp_path / "runs", server.url).complete
    assert arrived(server)


def test_a_wrong_key_costs_no_record(server, observe, tmp_path, caplog):
    server.key = "right"
    observer = observe(server, api_key="wrong")
    train(observer)
    observer.close()
    assert "refuses this run: 401: This key is not known." in caplog.text
    assert sync(tmp_path / "runs", server.url, "wrong").problems
    assert sync(tmp_path / "runs", server.url, "right").complete
    assert arrived(server)


def test_a_key_read_from_a_file_ends_with_a_line_break(server, observe):
    server.key = "right"
    observer = observe(server, api_key="right\n")
    observer.close()
    assert observer.outcome.pending == 0


def test_a_damaged_older_run_holds_nothing_up(server, observe, tmp_path, forgiving, caplog):
    (tmp_path / "runs" / "old").mkdir(parents=True)
    damaged = {"seq": 1, "kind": "opening", "data": {"key": "k", "config": "none"}}
    (tmp_path / "runs" / "old" / "records.jsonl").write_text(json.dumps(damaged) + "\n")
    observer = observe(server)
    wait_until(lambda: "_deliver_older failed" in caplog.text)
    observer.flush()
    observer.close()
    assert arrived(server, 1) and observer.outcome.pending == 0


def test_one_bad_record_does_not_stop_the_others(server, observe, caplog):
    server.rejected_epochs = {1}
    observer = observe(server)
    train(observer)
    observer.close()
    assert sorted(server.session.epochs) == [(0, 0), (2, 0)]
    (refused,) = sent(observer)["rejected"]
    assert (refused["kind"], refused["reason"]) == ("epoch", "rejected: told to refuse it")
    assert caplog.text.count("refused epoch") == 1
    assert observer.outcome.pending == 0


def test_a_batch_that_is_too_large_is_sent_in_parts(server, observe, hasty):
    server.fault = Fault(500)
    observer = observe(server)
    train(observer)
    server.fault = Fault(413, where="/epochs", times=2)
    observer.close()
    assert len(server.session.epochs) >= 2
    assert len(server.session.epochs) + len(sent(observer)["rejected"]) == 3


@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_lost_its_memory_is_told_again(server, observe, times):
    observer = observe(server)
    train(observer, 2)
    for _ in range(times):
        wait_until(lambda: observer._recording.spool.pending == 0)
        server.sessions.clear()
        observer.flush()
    observer.close()
    assert arrived(server, 2 + times)


def test_retry_after_is_honored(server, observe, hasty):
    server.fault = Fault(503, headers={"Retry-After": "2"}, times=1)
    observe(server)
    wait_until(lambda: server.requests)
    time.sleep(0.3)
    assert len(server.requests) == 1


def test_slow_answers_do_not_slow_the_training(server, observe):
    server.slow = 0.5
    observer = observe(server, close_seconds=0.1)
    began = time.perf_counter()
    train(observer, 20)
    observer.close()
    # The first answer alone takes longer than all of this.
    assert len(server.requests) <= 2
    assert time.perf_counter() - began < 20


def test_close_waits_no_longer_than_told(server, observe, capsys):
    server.slow = 30
    observer = observe(server, close_seconds=0.2)
    began = time.perf_counter()
    observer.close()
    assert time.perf_counter() - began < 15
    assert "records kept in" in capsys.readouterr().err


def test_heartbeats_say_how_far_it_is(server, observe):
    observer = observe(server, heartbeat_seconds=0.05)
    train(observer, 2)
    wait_until(lambda: server.sessions and server.session.beats)
    assert server.session.beats[-1] == {"epoch": 2, "step": 8, "expect_next_in": 0.05}


def test_the_next_run_delivers_what_the_last_left_behind(observe, hasty):
    server = IngestServer()
    server.stop()
    first = observe(server, run_name="first")
    train(first)
    first.close()
    server.start()
    second = observe(server, run_name="second")
    wait_until(lambda: len(server.sessions) == 2 and server.sessions[first.key].ending)
    second.close()
    assert len(server.sessions[first.key].epochs) == 3
    server.stop()


def test_a_run_recorded_offline_is_left_to_sync(server, observe, tmp_path):
    first = observe(run_name="first")
    first.close()
    second = observe(server, run_name="second")
    wait_until(lambda: server.sessions and second._recording._sender._older is None)
    assert list(server.sessions) == [second.key]
    second.close()
    assert sync(tmp_path / "runs", server.url).complete
    assert set(server.sessions) == {first.key, second.key}


def test_a_run_being_recorded_is_not_sent_by_another_process(server, observe, tmp_path):
    observe()
    result = sync(tmp_path / "runs", server.url)
    assert "still being recorded" in result.problems[0]
    assert server.requests == []


def test_epochs_left_behind_travel_together(server, observe, tmp_path):
    observer = observe()
    train(observer, 30)
    observer.close()
    sync(tmp_path / "runs", server.url)
    assert server.paths().count("POST epochs") <= 2
    # What describes the code may come between them.
    assert "gzip" in [headers.get("Content-Encoding") for _, path, headers, _ in server.requests if "epochs" in path]


def test_one_connection_serves_all_requests(server, observe, tmp_path):
    observer = observe()
    train(observer)
    observer.close()
    sync(tmp_path / "runs", server.url)
    assert len(server._http.open) == 1


def test_an_idle_connection_that_the_server_closed_is_no_failure(server, observe, caplog):
    observer = observe(server)
    wait_until(lambda: observer._recording.spool.pending == 0)
    server._http.hang_up()
    observer.flush()
    observer.close()
    assert "training goes on" not in caplog.text
    assert arrived(server, 1)


def test_nan_and_inf_arrive(server, observe):
    observer = observe(server)
    for step, loss in enumerate((1.0, float("nan"), float("inf"))):
        observer.step(step, loss)
    observer.flush(val_loss=float("-inf"))
    observer.close()
    loss = server.session.epochs[0, 0]["loss"]
    assert (loss["train_mean"], loss["train_max"], loss["val"]["val_loss"]) == ("nan", "nan", "-inf")
    assert (loss["non_finite"], loss["first_non_finite_step"]) == (2, 1)
    assert server.session.epochs[0, 0]["steps"]["loss_mean"] == [1.0, "nan", "inf"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("localhost:8000", "http://", id="no scheme"),
        pytest.param("http://127.0.0.1:port", "http://", id="no port"),
    ],
)
def test_an_address_that_is_none(tmp_path, url, says):
    with pytest.raises(ValueError, match=says):
        sync(tmp_path, url)
