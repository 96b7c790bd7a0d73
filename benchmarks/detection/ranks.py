"""Data-parallel training on two processes of this machine, as `torchrun` starts it; rank 0 is observed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from benchmarks.detection.training import Setup, Twist, train
from observer_client import Observer, ObserverConfig


def in_step(setup: Setup) -> None:
    """Two ranks that average their gradients."""
    _start(setup, _wrap)


def unsynchronized(setup: Setup) -> None:
    """The wrapper is made, but the module inside is called: gradients are never averaged."""

    def bypass(ready: Setup) -> None:
        _wrap(ready)
        ready.model = ready.model.module

    _start(setup, bypass)


def straggling(setup: Setup) -> None:
    """Rank 1 needs 15 ms more for each step, and rank 0 waits for it."""

    def wait(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        time.sleep(0.015)
        return x, y

    def late(ready: Setup) -> None:
        _wrap(ready)
        if distributed.get_rank() == 1:
            ready.on_batch.append(wait)

    _start(setup, late)


def _wrap(setup: Setup) -> None:
    setup.model = DistributedDataParallel(setup.model)


def _start(setup: Setup, prepare: Twist) -> None:
    """Fork rank 1, which trains the same model on other batches, and join its group as rank 0."""
    folder = tempfile.mkdtemp()
    meeting = os.path.join(folder, "store")
    # A folder for both: each rank records elsewhere.
    os.environ["MLDIAG_RANKS_DIRECTORY"] = os.path.join(folder, "ranks")
    # A daemon: it must not outlive an observed rank that failed.
    other: Any = multiprocessing.get_context("fork").Process(
        target=_rank_1, args=(setup, prepare, meeting), daemon=True
    )
    other.start()
    _join(0, meeting)
    prepare(setup)

    def finish() -> None:
        other.join(10)
        shutil.rmtree(folder)

    _after_training(setup, finish)


def _rank_1(setup: Setup, prepare: Twist, meeting: str) -> None:
    _join(1, meeting)
    prepare(setup)
    # Other batches than rank 0.
    torch.manual_seed(1)
    with Observer(config=ObserverConfig(mode="offline", quiet=True)) as observer:
        train(setup, observer)


def _join(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)


def _after_training(setup: Setup, finish: Callable[[], object]) -> None:
    last = setup.epochs - 1
    setup.on_epoch.append(lambda epoch: finish() if epoch == last else None)
