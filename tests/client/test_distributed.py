"""Real trainings on two processes of this machine: rank 0 reports, rank 1 leaves word for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.engine import Run, diagnose

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("distributed")]

FAULTS = ("healthy", "bypassed", "slow", "sharded", "sharded by wrapper", "crashed")
TRAINING = """
import sys, time
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from observer_client import Observer, ObserverConfig

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()

mesh = init_device_mesh("cpu", (2,))

def train(fault, folder):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    if fault == "sharded":
        ddp = fully_shard(model, mesh=mesh)
    elif fault == "sharded by wrapper":
        ddp = FullyShardedDataParallel(model, device_mesh=mesh, device_id=torch.device("cpu"))
    else:
        ddp = torch.nn.parallel.DistributedDataParallel(model)
    used = model if fault == "bypassed" else ddp
    observer = Observer(run_name="ranks", config=ObserverConfig(directory=folder + "/runs"))
    observer.register_model(ddp)
    optimizer = torch.optim.SGD(used.parameters(), 0.1)
    torch.manual_seed(rank)
    for epoch in range(5):
        for step in range(8):
            if fault == "slow" and rank == 1:
                time.sleep(0.02)
            if fault == "crashed" and rank == 1 and epoch == 2:
                raise ZeroDivisionError("no such batch")
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(used(torch.randn(4, 8)), torch.randint(0, 3, (4,)))
            loss.backward()
            optimizer.step()
            observer.step(step, loss, batch_size=4)
        distributed.barrier()
        observer.flush(val_loss=1.0)
        distributed.barrier()
    exported = observer.export(folder + "/run" + str(rank))
    observer.close()
    assert (exported is None) == (observer.folder is None) == (rank == 1), exported
    distributed.barrier()

for fault in sys.argv[2:]:
    train(fault, sys.argv[1] + "/" + fault)
distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``trained(fault)`` is the folder and the document of a run on two ranks; both are started once for all faults."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(TRAINING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    job |= {"MLDIAG_MODE": "offline", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(folder), *FAULTS]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **job, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for rank in ranks:
        said = rank.communicate(timeout=150)[1]
        # The last fault ends both.
        assert rank.returncode == 1 and "no such batch" in said or "onnection" in said, said
    return lambda fault: (folder / fault, document(folder / fault / "run0"))


def document(path):
    return json.loads(path.read_text()) if path.exists() else None


def issues(document):
    run = Run.from_epochs(document["epochs"])
    return {issue.check_id for issue in diagnose(run).issues} & {"ranks-diverged", "rank-straggler"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param("healthy", set(), id="healthy"),
        pytest.param("bypassed", {"ranks-diverged"}, id="wrapper bypassed"),
        pytest.param("slow", {"rank-straggler"}, id="one rank sleeps"),
        pytest.param("sharded", set(), id="sharded parameters differ"),
        pytest.param("sharded by wrapper", set(), id="flat sharded parameters differ"),
    ],
)
def test_ranks(trained, fault, expected):
    assert issues(trained(fault)[1]) == expected


def test_one_run_is_recorded_and_nothing_else_stays(trained):
    folder, document = trained("healthy")
    assert [path.name.startswith("ranks-") for path in (folder / "runs").iterdir()] == [True]
    assert len(document["epochs"]) == 5
    compared = [each["ranks"] for each in document["epochs"] if "ranks" in each]
    assert {each["reporting"] for each in compared} == {2}
    assert {each["diverged"] for each in compared} == {0}


def test_the_slow_rank_is_named(trained):
    compared = [each["ranks"] for each in trained("slow")[1]["epochs"] if "ranks" in each]
    assert {each["slowest"] for each in compared} == {1}
    assert all(set(each["work_seconds"]) == {"0", "1"} for each in compared)


def recorded(folder, kind):
    (records,) = (folder / "runs").glob("ranks-*/records.jsonl")
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    return [each["data"] for each in lines if each["kind"] == kind]


@pytest.mark.parametrize("fault", ["healthy", "bypassed"])
def test_the_last_window_is_compared(trained, fault):
    last = recorded(trained(fault)[0], "epoch")[-1]
    assert (last["epoch"], last["ranks"]["epoch"], last["ranks"]["reporting"]) == (4, 4, 2)
    assert last["ranks"]["diverged"] == (fault == "bypassed")


@pytest.mark.parametrize("fault", ["sharded", "sharded by wrapper"])
def test_sharded_trainings_are_recorded_whole(trained, fault):
    epochs = trained(fault)[1]["epochs"]
    assert [each["loss"]["n_batches"] for each in epochs] == [8] * 5
    assert any(each["ranks"].get("slowest") is not None for each in epochs if "ranks" in each)


def test_the_rank_that_crashed_is_named(trained):
    folder = trained("crashed")[0]
    (ending,) = recorded(folder, "ending")
    assert ending["status"] == "crashed"
    assert ending["reason"].startswith("rank 1: ZeroDivisionError: no such batch (rank 0: ")
    lines = [each["msg"] for each in recorded(folder, "log")]
    assert sum("rank 1 crashed: Traceback" in each and "no such batch" in each for each in lines) == 1
