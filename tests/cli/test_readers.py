from __future__ import annotations

import gzip
import json
import math

import pytest

from mldiag.cli.readers import read
from mldiag.cli.recorded import UnreadableRun
from tests.cli.conftest import HEALTHY, RUNS, epoch


def losses(run):
    """The mean training losses of a run, whether it was read into records or into dicts."""
    return [each["loss"]["train_mean"] if isinstance(each, dict) else each.loss.train_mean for each in run.epochs]


LINES = "\n".join(json.dumps(each) for each in HEALTHY)
SPOOLED = "\n".join(json.dumps({"seq": i, "kind": "epoch", "data": each}) for i, each in enumerate(HEALTHY))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(json.dumps(HEALTHY), id="list of epochs"),
        pytest.param(json.dumps({"epochs": HEALTHY}), id="object"),
        pytest.param(json.dumps({"format": 1, "session": {"key": "k"}, "epochs": HEALTHY}), id="exported file"),
        pytest.param(LINES, id="JSON lines"),
        pytest.param(LINES.replace("\n", "\r\n") + "\r\n", id="JSON lines of Windows"),
        pytest.param("\n\n" + LINES, id="JSON lines after blank ones"),
        pytest.param(SPOOLED, id="the client's records"),
        pytest.param("  \n" + json.dumps(HEALTHY, indent=4), id="indented"),
        pytest.param("\ufeff" + json.dumps(HEALTHY), id="byte order mark"),
    ],
)
def test_every_form_gives_the_same_epochs(data):
    assert losses(read(data.encode())) == [each["loss"]["train_mean"] for each in HEALTHY]


def test_powershell_writes_utf_16():
    assert len(read(json.dumps(HEALTHY).encode("utf-16")).epochs) == len(HEALTHY)


@pytest.mark.parametrize("token", ["NaN", '"nan"', '"NaN"'])
def test_nan_is_read_in_every_spelling(token):
    (loss,) = losses(read(f'[{{"epoch": 0, "loss": {{"train_mean": {token}}}}}]'.encode()))
    assert math.isnan(loss)


@pytest.mark.parametrize("token", ["Infinity", '"inf"', "1e999", "9" * 5000])
def test_infinity_is_read_in_every_spelling(token):
    (loss,) = losses(read(f'[{{"epoch": 0, "loss": {{"train_mean": {token}}}}}]'.encode()))
    assert loss == math.inf


def test_not_logged_stays_different_from_nan():
    assert losses(read(b'[{"epoch": 0, "duration_seconds": 1, "loss": {"train_mean": null}}]')) == [None]


def test_epochs_without_a_number_are_counted():
    run = read(b'[{"loss": {"train_mean": 1.0}}, {"loss": {"train_mean": 5.0}}]')
    assert [each.epoch for each in run.epochs] == [0, 1]


def test_one_line_is_a_run_of_one_epoch():
    assert losses(read(json.dumps(HEALTHY[0]).encode())) == [2.0]


def test_an_object_carries_logs_and_architecture():
    run = read(json.dumps({"epochs": HEALTHY, "logs": ["boom"], "architecture": {"total_parameters": 7}}).encode())
    assert (run.logs[0].msg, run.architecture.total_parameters) == ("boom", 7)


def test_what_a_newer_client_writes_is_read_with_a_note():
    run = read(json.dumps({"format": 99, "epochs": [epoch(0, 1.0, planets=[1])]}).encode())
    assert losses(run) == [1.0]
    assert "format 99" in run.notes[0]


def test_a_wrong_leaf_is_noted_and_the_rest_judged():
    run = read(b'[{"epoch": 0, "loss": {"train_mean": 1.5}}, {"epoch": 1, "loss": {"train_mean": "high"}}]')
    assert "`$[1].loss.train_mean`" in run.notes[0]
    assert losses(run) == [1.5, "high"]


def test_bytes_that_are_no_utf_8_cost_a_sign_not_the_run():
    run = read(b'{"epochs": [{"epoch": 0, "loss": {"train_mean": 1.0}}], "logs": [{"msg": "\xff!"}]}')
    assert run.logs[0].msg == "\ufffd!"
    assert "UTF-8" in run.notes[0]


@pytest.mark.parametrize("text", [LINES, SPOOLED], ids=["epochs", "records"])
def test_a_torn_last_line_is_noted(text):
    run = read(text.encode()[:-9])
    assert len(run.epochs) == len(HEALTHY) - 1
    assert run.notes == ["the last line is incomplete"]


def test_a_damaged_record_is_passed_over_with_a_note():
    lines = SPOOLED.split("\n")
    run = read("\n".join([lines[0], lines[1][:30], *lines[2:]]).encode())
    assert len(run.epochs) == len(HEALTHY) - 1
    assert "line 2" in run.notes[0]


def test_updates_are_merged_into_the_opening():
    records = [
        {"kind": "opening", "data": {"key": "k", "run_name": "first", "hyperparameters": {"lr": 1, "wd": 2}}},
        {"kind": "update", "data": {"hyperparameters": {"lr": 3}, "run_name": "second"}},
        {"kind": "epoch", "data": HEALTHY[0]},
        {"kind": "ending", "data": {"status": "crashed", "reason": "KeyError: 'x'"}},
        {"kind": "of a later version", "data": {}},
    ]
    run = read("\n".join(json.dumps({"seq": i, **each}) for i, each in enumerate(records)).encode())
    assert (run.name, run.hyperparameters) == ("second", {"lr": 3, "wd": 2})
    assert (run.status, run.reason) == ("crashed", "KeyError: 'x'")


def test_the_clients_folder_and_its_export_tell_the_same(recorded):
    folder = recorded([1.0, 0.5, float("nan")])
    spooled, exported = (
        read((folder / "records.jsonl").read_bytes()),
        read((folder.parents[1] / "export.json").read_bytes()),
    )
    assert [each.epoch for each in spooled.epochs] == [each.epoch for each in exported.epochs] == [0, 1, 2]
    assert str(losses(spooled)) == str(losses(exported)) == "[1.0, 0.5, nan]"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b" \n\t ", "is empty", id="blank"),
        pytest.param(
            b'{"epochs": [{"epoch": 0, "loss": {"tra', "ends in the middle (line 1, column", id="cut in a name"
        ),
        pytest.param(b'{"epochs": [{"epoch": 0,', "ends in the middle", id="cut after a comma"),
        pytest.param(b'[\n  {"epoch": 0 "loss": 1}\n]', "line 2, column 15", id="missing comma"),
        pytest.param(b"loss: 0.5\n", "is not JSON", id="a text"),
        pytest.param(bytes(range(256)) * 9, "is a binary file", id="binary"),
        pytest.param(b"[" * 200_000, "nested too deeply", id="nested without end"),
        pytest.param(b'{"epochs": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "nested too deeply", id="nested deeply"),
        pytest.param(b"42", "holds a number", id="a number"),
        pytest.param(b'"run"', "holds a string", id="a string"),
        pytest.param(b"null", "holds null", id="null"),
        pytest.param(b"{}", "is an empty JSON object", id="empty object"),
        pytest.param(b"[]", "nothing to judge", id="empty list"),
        pytest.param(b'{"epochs": [], "logs": []}', "nothing to judge", id="a run without anything"),
        pytest.param(b'{"epochs": {"0": {}}}', "an object at $.epochs, where a list", id="epochs as object"),
        pytest.param(b'{"epochs": [{"epoch": 0}, 7]}', "a number at $.epochs[1]", id="a number as epoch"),
        pytest.param(b"[1, 2]", "a number at $[0]", id="list of numbers"),
        pytest.param(b'{"epochs": [], "logs": "boom"}', "a string at $.logs", id="logs as text"),
        pytest.param(b'{"architecture": [1]}', "a list at $.architecture", id="architecture as list"),
        pytest.param(b'{"train_history": []}', 'with "train_history", but no epochs', id="another tool's file"),
        pytest.param(b'[{"epoch": 0, "train_loss": 1}]', '"train_loss"', id="measurements of other names"),
        pytest.param(b'{"epoch": 0, "loss": {}}\n3\n{}', "line 2", id="a number as line"),
        pytest.param(b'{"epoch": 0, "loss": {}}\n{"epoch":\n{}', "line 2", id="a broken line in the middle"),
    ],
)
def test_what_is_no_run_is_refused_with_the_reason(data, words):
    with pytest.raises(UnreadableRun) as refused:
        read(data)
    assert words in str(refused.value)


def test_a_refusal_points_at_the_place():
    with pytest.raises(UnreadableRun) as refused:
        read(b'[\n  {"epoch": 0 "loss": 1}\n]')
    text, caret = refused.value.detail.split("\n")
    assert text[caret.index("^") :].startswith('"loss"')


@pytest.mark.parametrize("run", sorted(RUNS.glob("*.json")), ids=lambda path: path.stem)
def test_the_tolerant_way_reads_what_the_fast_way_reads(run):
    data = run.read_bytes()
    spelled = data.replace(b'"nan"', b"NaN").replace(b'"inf"', b"Infinity")
    # A bare token sends any file the slow way.
    slow = spelled.replace(b'{"format":1,', b'{"format":1,"extra":NaN,', 1)
    assert repr(read(slow).epochs) == repr(read(data).epochs)


def test_gzip_is_no_matter_of_the_readers():
    with pytest.raises(UnreadableRun):
        read(gzip.compress(json.dumps(HEALTHY).encode()))
