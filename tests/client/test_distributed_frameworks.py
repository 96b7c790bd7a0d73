"""Lightning, the Trainer of Transformers and Accelerate on two real processes: one run each, its ranks compared."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("frameworks")]

TRAINING = """
import os, sys, warnings
import torch
from torch import distributed
from torch.utils.data import DataLoader, TensorDataset
from observer_client import ObserverConfig

torch.set_num_threads(1)
distributed.init_process_group("gloo")
RANK = distributed.get_rank()

def config(name):
    return ObserverConfig(mode="offline", quiet=True, directory=f"{sys.argv[1]}/{name}")

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def data():
    torch.manual_seed(1)
    return TensorDataset(torch.randn(48, 4), torch.randint(0, 3, (48,)))

def lightning():
    import lightning.pytorch as pl
    from lightning.pytorch.strategies import DDPStrategy
    from observer_client.frameworks.lightning import ObserverCallback

    class Digits(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, number):
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy=DDPStrategy(process_group_backend="gloo"),
        callbacks=[ObserverCallback(config=config("lightning"))], **quiet,
    )
    trainer.fit(Digits(), DataLoader(data(), batch_size=4))

def transformers():
    from transformers import Trainer, TrainingArguments
    from observer_client.frameworks.transformers import ObserverCallback

    class Digits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    arguments = TrainingArguments(
        output_dir=sys.argv[1], num_train_epochs=2, per_device_train_batch_size=4, learning_rate=0.1, use_cpu=True,
        save_strategy="no", logging_steps=2, disable_tqdm=True, report_to="none", ddp_backend="gloo",
    )
    samples = [{"x": x, "labels": y} for x, y in data()]
    callback = ObserverCallback(config=config("transformers"))
    Trainer(model=Digits(), args=arguments, train_dataset=samples, callbacks=[callback]).train()

def accelerate():
    from accelerate import Accelerator
    from observer_client import Observer
    from observer_client.frameworks.accelerate import ObserverTracker

    tracker = ObserverTracker(config=config("accelerate"))
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("Digits", config={"learning_rate": 0.1})
    model = network()
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(data(), batch_size=4)
    )
    # Accelerate has trackers in the main process only: the others observe by themselves.
    observer = tracker.observer if accelerator.is_main_process else Observer(config=config("accelerate"))
    observer.register_model(model, optimizer)
    for epoch in range(2):
        for x, y in loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            accelerator.log({"train_loss": loss.item(), "epoch": epoch})
            if not accelerator.is_main_process:
                observer.step(loss=loss)
        if not accelerator.is_main_process:
            observer.flush()
    observer.close() if not accelerator.is_main_process else None
    accelerator.end_training()

warnings.simplefilter("ignore")
for each in (lightning, transformers, accelerate):
    each()
if distributed.is_initialized():
    distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """``trained(name)`` are the records of the one run that a framework's training on two ranks left."""
    folder = tmp_path_factory.mktemp("frameworks")
    (folder / "train.py").write_text(TRAINING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    job |= {"PYTHONPATH": str(ROOT), "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
    command = [sys.executable, str(folder / "train.py"), str(folder)]
    ranks = [
        subprocess.Popen(
            command,
            env={**os.environ, **job, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        said = rank.communicate(timeout=240)[1]
        assert rank.returncode == 0, said[-4000:]

    def records(name, kind):
        (path,) = (folder / name).glob("*/records.jsonl")
        return [each["data"] for each in map(json.loads, path.read_text().splitlines()) if each["kind"] == kind]

    return records


@pytest.mark.parametrize("name", ["lightning", "transformers", "accelerate"])
def test_one_run_is_recorded_whole(trained, name):
    epochs = {each["epoch"]: each for each in trained(name, "epoch")}
    # 48 samples in batches of 4 on two ranks.
    assert [(epoch, each["loss"]["n_batches"]) for epoch, each in epochs.items()] == [(0, 6), (1, 6)]
    assert [each["status"] for each in trained(name, "ending")] == ["finished"]
    assert trained(name, "architecture")


@pytest.mark.parametrize("name", ["lightning", "transformers", "accelerate"])
def test_its_ranks_are_compared_to_the_last_epoch(trained, name):
    last = trained(name, "epoch")[-1]
    assert {name: last["ranks"][name] for name in ("world_size", "reporting", "epoch", "diverged")} == {
        "world_size": 2,
        "reporting": 2,
        "epoch": 1,
        "diverged": 0,
    }
