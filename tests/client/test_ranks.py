"""What ranks leave for each other, and what is compared."""

from __future__ import annotations

import pytest
import torch

from observer_client import ObserverConfig, parameters, ranks
from observer_client.rankcrashes import CrashWord
from tests.client.conftest import net, records, wait_until


@pytest.fixture
def box(tmp_path):
    made = ranks.DropBox(ObserverConfig(ranks_directory=str(tmp_path / "box")))
    made.open()
    return made


def test_word_left_is_taken(box):
    box.put(1, [{"epoch": 0}])
    box.put(3, [{"epoch": 1}])
    assert list(box.take()) == [(1, [{"epoch": 0}]), (3, [{"epoch": 1}])]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"epoch": 0}'])
def test_word_that_cannot_be_read_is_passed_over(box, text):
    box.put(1, [{"epoch": 0}])
    (box.folder / "rank-2.json").write_text(text)
    assert [sender for sender, _ in box.take()] == [1]


def test_nothing_is_written_where_nobody_reads(box):
    box.clear()
    box.put(1, [{"epoch": 0}])
    assert not box.folder.exists()


def test_an_earlier_job_left_nothing(box):
    box.put(1, [{"epoch": 0}])
    box.open()
    assert list(box.take()) == []


def test_a_folder_that_cannot_be_written_is_said_and_no_error(tmp_path, caplog):
    (tmp_path / "box").write_text("")
    box = ranks.DropBox(ObserverConfig(ranks_directory=str(tmp_path / "box")))
    box.open()
    box.put(1, [])
    assert list(box.take()) == [] and caplog.text.count("cannot be compared") == 1


def test_jobs_are_told_apart(monkeypatch):
    def folder(port):
        monkeypatch.setenv("MASTER_PORT", port)
        return ranks.DropBox(ObserverConfig()).folder

    assert folder("29500") == folder("29500") != folder("29501")


@pytest.mark.parametrize(
    ("variables", "rank"),
    [({}, 0), ({"RANK": ""}, 0), ({"RANK": "0"}, 0), ({"RANK": "3"}, 3), ({"LOCAL_RANK": "1"}, 1), ({"RANK": "x"}, 0)],
    ids=str,
)
def test_which_rank_this_is(monkeypatch, variables, rank):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.rank() == rank


def test_another_rank_records_nothing_and_measures_nothing(monkeypatch, observe, tmp_path):
    monkeypatch.setenv("RANK", "1")
    observer = observe()
    observer.register_model(net())
    observer.step(0, 1.0)
    observer.flush()
    observer.log("hello")
    assert (observer.folder, observer.url, observer.export(tmp_path / "run.json")) == (None, None, None)
    assert not observer.should_profile(0) and not (tmp_path / "runs").exists()


def test_a_run_on_one_process_says_nothing_of_ranks(observe):
    observer = observe()
    observer.register_model(net())
    observer.step(0, 1.0)
    observer.flush()
    assert "ranks" not in records(observer, "epoch")[0]


@pytest.mark.parametrize(
    "kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64], ids=str
)
def test_a_changed_bit_changes_a_checksum(kind):
    weight = torch.nn.Parameter(torch.ones(10, dtype=kind))
    before = parameters.checksums({"w": weight})
    assert parameters.checksums({"w": weight.clone()}) == before
    with torch.no_grad():
        weight[3] += 0.01
    assert parameters.checksums({"w": weight}) != before


def test_nan_is_like_itself():
    weight = torch.full((5,), float("nan"))
    assert parameters.checksums({"w": weight}) == parameters.checksums({"w": weight.clone()})


def test_parameters_that_belong_to_one_rank_are_left_out():
    model = net()
    model[0].weight.requires_grad = False
    model[0].bias.allreduce = False
    assert set(parameters.replicated(model)) == {"2.weight", "2.bias"}


def test_parameters_of_sharded_tensors_are_exempt():
    model = net()
    model[0].weight.tensor_model_parallel = True
    assert parameters.replicated(model) == {}


def crashed(box, **ranks_at):
    """The words of ranks that crashed at these times, heard by rank 0."""
    word = CrashWord(box)
    for name, at in ranks_at.items():
        box.put_crash(int(name[1:]), {"at": at, "reason": f"ValueError: {name}", "trace": f"Traceback of {name}"})
    lines = []
    word.hear(lines.append)
    word.hear(lines.append)
    return word, [line.msg for line in lines]


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        pytest.param("killed", "SIGTERM", ("crashed", "rank 2: ValueError: r2 (rank 0: SIGTERM)"), id="killed"),
        pytest.param(
            "crashed",
            "RuntimeError: Connection closed by peer [127.0.0.1]:1",
            ("crashed", "rank 2: ValueError: r2 (rank 0: RuntimeError: Connection closed by peer [127.0.0.1]:1)"),
            id="a broken connection",
        ),
        pytest.param("crashed", "KeyError: 'x'", ("crashed", "KeyError: 'x'"), id="an error of its own"),
        pytest.param("finished", None, ("finished", None), id="finished"),
    ],
)
def test_the_first_rank_that_crashed_is_the_cause(box, status, reason, expected):
    word, said = crashed(box, r1=20.0, r2=10.0)
    assert said == ["rank 2 crashed: Traceback of r2", "rank 1 crashed: Traceback of r1"]
    assert word.cause(status, reason) == expected


def test_without_a_crash_the_end_is_its_own(box):
    assert crashed(box)[0].cause("killed", "SIGTERM") == ("killed", "SIGTERM")


def test_few_of_many_crashes_are_said(box):
    assert len(crashed(box, **{f"r{number}": float(number) for number in range(1, 9)})[1]) == 4


@pytest.mark.parametrize("word", ["[1]", "{", "{}", '{"at": "soon"}'], ids=["list", "torn", "empty", "no time"])
def test_a_crash_word_that_makes_no_sense(box, word):
    (box.folder / "crash-3.json").write_text(word)
    assert crashed(box, r1=1.0)[0].cause("killed", None)[1] == "rank 1: ValueError: r1 (rank 0: killed)"


def test_a_crash_is_told_while_rank_0_waits(server, observe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    observer = observe(server, ranks_directory=str(tmp_path / "box"), heartbeat_seconds=0.05)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ZeroDivisionError), observe(server, ranks_directory=str(tmp_path / "box")):
        raise ZeroDivisionError("no such batch")
    wait_until(lambda: server.sessions and server.session.logs)
    assert "rank 1 crashed: Traceback" in server.session.logs[1]["msg"]
    assert observer.outcome is None
