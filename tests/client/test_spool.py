from __future__ import annotations

import json
import os
import shutil

import pytest

from observer_client.runfolder import Entry, folder_name
from observer_client.spool import MOST_REJECTED, Spool


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "run")
    yield made
    made.close()


def seqs(spool):
    return [entry.seq for entry in spool.everything()]


def full_disk(monkeypatch, room):
    """From now on only ``room`` bytes more go through."""
    real = os.write
    left = [room]

    def write(file, data):
        taken = real(file, data[: left[0]])
        left[0] -= taken
        if taken < len(data) and not taken:
            raise OSError(28, "No space left on device")
        return taken

    monkeypatch.setattr("observer_client.spool.os.write", write)
    return left


def test_a_record_is_a_line(spool):
    spool.append("opening", {"key": "k"})
    spool.append("epoch", {"epoch": 0, "loss": {"train_mean": float("nan")}})
    lines = [json.loads(line) for line in spool.records.read_text().splitlines()]
    assert lines[0] == {"seq": 1, "kind": "opening", "data": {"key": "k"}}
    assert lines[1]["data"]["loss"] == {"train_mean": "nan"}


def test_what_is_acknowledged_is_not_handed_out_again(spool, tmp_path):
    for number in range(5):
        spool.append("epoch", {"epoch": number})
    spool.acknowledge(spool.unsent()[2])
    assert [entry.seq for entry in spool.unsent()] == [4, 5]
    assert [entry.seq for entry in Spool(tmp_path / "run").unsent()] == [4, 5]


def test_limits_of_a_batch(spool):
    for number in range(10):
        spool.append("epoch", {"epoch": number, "text": "x" * 100})
    assert len(spool.unsent(most=3)) == 3
    assert len(spool.unsent(most_bytes=400)) == 2
    assert len(spool.unsent(most_bytes=1)) == 1


def test_a_torn_last_line_is_passed_over_and_never_grown_onto(spool, tmp_path):
    spool.append("epoch", {"epoch": 0})
    spool.append("epoch", {"epoch": 1})
    spool.records.write_bytes(spool.records.read_bytes()[:-7])
    again = Spool(tmp_path / "run")
    assert seqs(again) == [1]
    again.append("epoch", {"epoch": 2})
    assert [entry.data["epoch"] for entry in again.everything()] == [0, 2]
    again.close()


def test_a_damaged_line_costs_itself_only(spool):
    spool.append("epoch", {"epoch": 0})
    with spool.records.open("a") as file:
        file.write("\x00\x00 not json\n[1]\n")
    spool.append("epoch", {"epoch": 1})
    assert seqs(spool) == [1, 2]


def test_a_damaged_note_of_what_was_sent_means_sending_again(spool, tmp_path):
    spool.append("epoch", {"epoch": 0})
    (tmp_path / "run" / "sent.json").write_text("{")
    assert len(Spool(tmp_path / "run").unsent()) == 1


def test_a_full_disk_is_said_once_and_costs_nothing(spool, monkeypatch, caplog):
    spool.append("opening", {"key": "k"})
    room = full_disk(monkeypatch, 20)
    for number in range(3):
        spool.append("epoch", {"epoch": number})
    assert caplog.text.count("cannot write") == 1
    assert (spool.in_memory, seqs(spool)) == (3, [1, 2, 3, 4])
    room[0] = 10**6
    spool.append("epoch", {"epoch": 3})
    assert spool.in_memory == 0
    assert [json.loads(line)["seq"] for line in spool.records.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_a_folder_that_cannot_be_made(tmp_path, caplog):
    (tmp_path / "runs").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "runs" / "run")
    assert spool.claim()
    spool.append("opening", {"key": "k"})
    assert [entry.kind for entry in spool.unsent()] == ["opening"]
    spool.acknowledge(spool.unsent()[0])
    assert (spool.pending, caplog.text.count("cannot write")) == (0, 1)


def test_memory_is_bounded_and_forgets_the_least_first(tmp_path, monkeypatch):
    monkeypatch.setattr("observer_client.spool.KEPT_IN_MEMORY", 3)
    (tmp_path / "runs").write_text("")
    spool = Spool(tmp_path / "runs" / "run")
    for kind in ("opening", "epoch", "log", "log", "ending"):
        spool.append(kind, {})
    assert [entry.kind for entry in spool.everything()] == ["opening", "epoch", "ending"]


def test_one_claim_at_a_time(spool, tmp_path):
    assert spool.claim()
    other = Spool(tmp_path / "run")
    assert not other.claim()
    spool.close()
    assert other.claim()
    other.close()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("My run", "my-run-0b9cc1c1"),
        ("../../etc/passwd", "etc-passwd-0b9cc1c1"),
        ("", "run-0b9cc1c1"),
        ("模型", "run-0b9cc1c1"),
        ("x" * 300, "x" * 60 + "-0b9cc1c1"),
    ],
)
def test_folder_name(name, folder):
    assert folder_name(name, "0b9cc1c1-5f0e") == folder


def test_a_removed_folder_is_written_anew(spool, caplog):
    assert spool.claim()
    for number in range(3):
        spool.append("epoch", {"epoch": number})
    spool.acknowledge(spool.unsent()[0])
    shutil.rmtree(spool.folder)
    spool.append("ending", {})
    assert seqs(spool) == [1, 2, 3, 4]
    assert [entry.seq for entry in spool.unsent()] == [2, 3, 4]
    assert not Spool(spool.folder).claim()
    assert "was removed" in caplog.text


def test_memory_is_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("observer_client.spool.KEPT_BYTES", 1000)
    (tmp_path / "runs").write_text("")
    spool = Spool(tmp_path / "runs" / "run")
    for number in range(20):
        spool.append("epoch", {"epoch": number, "text": "x" * 300})
    assert [entry.data["epoch"] for entry in spool.everything()] == [18, 19]


def test_an_old_run_knows_that_it_ended(spool, tmp_path):
    spool.append("ending", {})
    spool.append("update", {})
    assert Spool(tmp_path / "run").ended


def test_few_of_many_refusals_are_named(spool):
    for number in range(1, 2000):
        spool.reject(Entry(number, "log", {}, 1), "refused")
    assert len(spool.rejected) == MOST_REJECTED
