"""Runs the demo's trainings, each in a process of its own, and shows how far they are."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mldiag.cli.terminal import console

LONGEST_TRAINING = 300.0
_EPOCH = re.compile(r"^epoch (\d+) \((\d+)/(\d+)\)  (.*)$", re.MULTILINE)
# Imported once for both trainings: on a busy machine that is most of the demo's time.
_HEAVY = ["sklearn.datasets", "torch", "torch._dynamo", "codecarbon"]


class TrainingFailed(Exception):
    """A training ended with an error."""


@dataclass(frozen=True, slots=True)
class Training:
    """One of the demo's scripts."""

    module: str
    title: str


TRAININGS = (
    Training("mldiag.demo.digits_healthy", "healthy run"),
    Training("mldiag.demo.digits_faulty", "planted faults"),
)


def preload() -> ForkServerContext | SpawnContext:
    """Begin to import what the trainings need, in a process of its own, and return how to start them."""
    # One thread: two trainings of this size on more would only wait for each other. Read when torch is imported.
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.platform != "linux":
        # Forking a process that has loaded Apple's frameworks is not safe, and Windows cannot.
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_HEAVY)
    forkserver.ensure_running()
    return context


def train_all(context: ForkServerContext | SpawnContext, settings: Mapping[str, str], home: Path) -> None:
    """Run the trainings one after the other, with ``settings`` in their environment. Raises TrainingFailed."""
    with _progress() as progress:
        for number, training in enumerate(TRAININGS, 1):
            progress.console.print(f"Training {number} of {len(TRAININGS)}: python -m {training.module}")
            log = home / f"{training.module.rpartition('.')[2]}.log"
            log.write_bytes(b"")
            task = progress.add_task(training.title, total=None, now="loading PyTorch")
            process = context.Process(target=_train, args=(training.module, str(log), dict(settings)), daemon=True)
            # Returns when all is imported.
            process.start()
            _follow(process, log, progress, task)
            if process.exitcode:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise TrainingFailed(f"{training.title} failed with exit code {process.exitcode}:\n{tail}")


def _train(module: str, log: str, settings: dict[str, str]) -> None:
    """Run a script as ``python -m`` does, with its output in the file ``log``."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(settings)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__")


def _follow(process: BaseProcess, log: Path, progress: Progress, task: TaskID) -> None:
    deadline = time.monotonic() + LONGEST_TRAINING
    told = 0
    while True:
        ended = not process.is_alive()
        lines = _EPOCH.findall(log.read_text(errors="replace"))
        for epoch, done, total, figures in lines[told:]:
            progress.update(task, completed=int(done), total=int(total), now=f"epoch {epoch}  {figures}")
            if not progress.console.is_terminal:
                progress.console.print(f"  epoch {epoch} ({done}/{total})  {figures}")
        told = len(lines)
        if ended:
            return
        if time.monotonic() > deadline:
            process.terminate()
            raise TrainingFailed(f"a training took longer than {LONGEST_TRAINING:.0f} s")
        process.join(0.1)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:14}", markup=False),
        BarColumn(20),
        TextColumn("{task.fields[now]}", markup=False),
        TimeElapsedColumn(),
        console=console(),
    )
