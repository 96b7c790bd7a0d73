"""What ranks leave for each other, and what is compared."""

from __future__ import annotations

import pytest
import torch

from observer_client import ObserverConfig, parameters, ranks
from tests.client.conftest import net, records


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
