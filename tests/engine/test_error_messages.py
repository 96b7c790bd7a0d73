"""Errors as PyTorch and the system really word them, each provoked here."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from diagnostics.engine import Run, check_error_logs, diagnose
from diagnostics.engine.errors import class_of

pytestmark = pytest.mark.xdist_group("error messages")


class Broken(Dataset):
    """Its workers die, or raise."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyError("caption")


def load(how):
    list(DataLoader(Broken(how), num_workers=1, timeout=20))


def load_garbage(folder):
    (folder / "model.pt").write_bytes(b"PK\x03\x04 cut off")
    torch.load(folder / "model.pt")


def write_where_nobody_may(folder):
    folder.chmod(0)
    script = f"import os\nif os.geteuid() == 0:\n    os.setuid(65534)\nopen({str(folder / 'x')!r}, 'w')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    folder.chmod(0o700)
    raise PermissionError(done.stderr)


def fill_disk(folder):
    with open("/dev/full", "w") as full:
        full.write("x" * 100_000)


def other_optimizer(folder):
    first, second = (torch.optim.SGD(nn.Linear(2, size).parameters(), 0.1) for size in (1, 1))
    second.add_param_group({"params": nn.Linear(3, 3).parameters()})
    first.load_state_dict(second.state_dict())


def find_nan(folder):
    with torch.autograd.detect_anomaly(check_nan=True):
        (torch.zeros(1, requires_grad=True).sqrt() * 0).sum().backward()


PROVOKED = {
    "product": ("shape mismatch", lambda folder: nn.Linear(100, 10)(torch.zeros(64, 784))),
    "channels": ("shape mismatch", lambda folder: nn.Conv2d(1, 8, 3)(torch.zeros(1, 3, 8, 8))),
    "broadcast": ("shape mismatch", lambda folder: torch.zeros(3) + torch.zeros(4)),
    "concatenation": ("shape mismatch", lambda folder: torch.cat([torch.zeros(2, 3), torch.zeros(2, 4)])),
    "view": ("shape mismatch", lambda folder: torch.zeros(6).view(4, 2)),
    "targets": ("shape mismatch", lambda folder: functional.cross_entropy(torch.zeros(4, 2), torch.zeros(3).long())),
    "state": ("checkpoint mismatch", lambda folder: nn.Linear(2, 2).load_state_dict(nn.Linear(3, 2).state_dict())),
    "names": ("checkpoint mismatch", lambda folder: nn.Linear(2, 2).load_state_dict({"module.weight": torch.ones(2)})),
    "optimizer": ("checkpoint mismatch", other_optimizer),
    "torn file": ("checkpoint mismatch", load_garbage),
    "label": ("index out of range", lambda folder: functional.cross_entropy(torch.zeros(1, 2), torch.tensor([7]))),
    "token": ("index out of range", lambda folder: nn.Embedding(4, 2)(torch.tensor([9]))),
    "memory": ("out of memory", lambda folder: torch.empty(1 << 60, dtype=torch.uint8)),
    "array": ("out of memory", lambda folder: np.ones(1 << 58)),
    "disk": ("disk full", fill_disk),
    "checkpoint on a full disk": ("disk full", lambda folder: torch.save(torch.zeros(9), "/dev/full")),
    "permission": ("permission", write_where_nobody_may),
    "nan": ("NaN or infinity", find_nan),
    "sampling": ("NaN or infinity", lambda folder: torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)),
    "rendezvous": ("NCCL or distributed", lambda folder: torch.distributed.init_process_group("gloo")),
    "worker killed": ("data loader worker", lambda folder: load("die")),
    "sample": ("data loader", lambda folder: load("raise")),
}


RAISED = (RuntimeError, OSError, ValueError, IndexError, KeyError, MemoryError, pickle.UnpicklingError)


@pytest.fixture(scope="module")
def provoked(tmp_path_factory):
    """The errors, each raised once."""
    found = {}
    for name, (_, provoke) in PROVOKED.items():
        try:
            provoke(tmp_path_factory.mktemp("place"))
        except RAISED as error:
            found[name] = error
    return found


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", PROVOKED)
def test_class_of_a_real_error(name, provoked):
    error, kind = provoked[name], PROVOKED[name][0]
    assert class_of(str(error)).name == kind
    assert class_of("".join(traceback.format_exception(error))).name == kind


def test_fix_of_a_product_takes_its_sizes(provoked):
    nodes = [{"id": "head.0", "type": "Linear", "category": "linear", "in_features": 100, "out_features": 10}]
    logs = [{"level": "ERROR", "msg": str(provoked["product"])}]
    (issue,) = diagnose(Run.from_epochs([], logs=logs, architecture={"layer_graph": {"nodes": nodes}})).issues
    model = nn.Sequential()
    model.add_module("head", nn.Sequential(nn.Linear(100, 10)))
    exec(issue.fix, {"torch": torch, "model": model})
    assert model(torch.zeros(64, 784)).shape == (64, 10)


def test_fix_of_a_checkpoint_takes_the_prefix_off():
    model, state = nn.Linear(2, 2), {f"module.{name}": each for name, each in nn.Linear(2, 2).state_dict().items()}
    with pytest.raises(RuntimeError) as error:
        model.load_state_dict(state)
    (issue,) = check_error_logs([{"level": "ERROR", "msg": str(error.value)}])
    exec(issue.fix, scope := {"model": model, "state": state})
    assert scope["state"].keys() == model.state_dict().keys()
