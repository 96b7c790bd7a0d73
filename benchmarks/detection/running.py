"""Trains scenarios in processes of their own and keeps the exported runs, so that each is trained once."""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import nn

import observer_client
from benchmarks.detection import data, models, ranks, training, workloads
from benchmarks.detection.acceptance import SCENARIOS as ACCEPTANCE
from benchmarks.detection.acceptance import data as acceptance_data
from benchmarks.detection.acceptance import models as acceptance_models
from benchmarks.detection.acceptance import sequences as acceptance_sequences
from benchmarks.detection.acceptance import text
from benchmarks.detection.faults import FAULTS
from benchmarks.detection.healthy import HEALTHY
from benchmarks.detection.scenario import Part, Scenario
from observer_client import ObserverConfig

SCENARIOS = {(each.part, each.name): each for each in (*HEALTHY, *FAULTS, *ACCEPTANCE)}
ROUNDS = sorted({each.round for each in SCENARIOS.values()})
FIRST_SEEDS = {Part.tuning: 0, Part.held_out: 1000, Part.acceptance: 2000}
"""Where the seeds of each part begin."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training."""

    part: Part
    name: str
    seed: int

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.part, self.name]


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that lies in a file as `Observer.export` wrote it, and the layers that were really at fault."""

    job: Job
    path: Path
    at_fault: frozenset[str]


def jobs(parts: Sequence[Part], seeds: int, only: str = "", rounds: Container[int] = ROUNDS) -> list[Job]:
    """Return what is to be trained; ``only`` is a part of a scenario's name."""
    found = [each for each in SCENARIOS.values() if each.part in parts and each.round in rounds and only in each.name]
    return [Job(each.part, each.name, FIRST_SEEDS[each.part] + seed) for each in found for seed in range(seeds)]


def train_all(wanted: Sequence[Job], folder: Path, workers: int) -> Iterator[Trained]:
    """Yield each run as soon as it is there. Raises what a training raised that was not meant to fail."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    missing = []
    for job in wanted:
        path = folder / _file_name(job)
        if path.exists():
            yield _trained(job, path)
        else:
            missing.append((job, path))
    if not missing:
        return
    # Each run starts in a fresh process, forked from one that has torch loaded: a leak must not burden the next run.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "benchmarks.detection.running"])
    with ExitStack() as stack:
        pool = ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1)
        # Who interrupts, or a training that fails, need not wait for all the others.
        stack.callback(pool.shutdown, cancel_futures=True)
        futures = {pool.submit(_train, job, path): (job, path) for job, path in missing}
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            job, path = futures[future]
            print(f"\r{done}/{len(missing)} trained  {job.name:60.60}", end="", file=sys.stderr, flush=True)
            yield _trained(job, path)
    print(file=sys.stderr)


def _trained(job: Job, path: Path) -> Trained:
    return Trained(job, path, frozenset(json.loads(_truth(path).read_text())))


def _truth(path: Path) -> Path:
    # Beside the run, not in it: the engine must not find the answer in its question.
    return path.with_suffix(".truth")


def _train(job: Job, path: Path) -> None:
    """Train one scenario under the observer and export the run to ``path``."""
    # With one thread a run is the same wherever it is trained.
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _touch()
    torch.manual_seed(job.seed)
    setup = job.scenario.workload(job.seed)
    job.scenario.twist(setup)
    draft = path.with_suffix(".draft")
    with tempfile.TemporaryDirectory() as folder:
        observer = setup.observed(ObserverConfig(mode="offline", directory=folder, quiet=True))
        try:
            with observer:
                training.train(setup, observer)
        except torch.OutOfMemoryError:
            # The fault that ends a run; the observer has seen it pass.
            pass
        if observer.export(draft) is None:
            raise RuntimeError(f"{job.name} was not exported")
    for stale in path.parent.glob(f"{path.stem.rpartition('-')[0]}-*"):
        if stale != draft:
            stale.unlink()
    _truth(path).write_text(json.dumps(sorted(setup.at_fault)))
    draft.replace(path)


def _touch() -> None:
    """Use what trainings use, once: a forked process maps torch's code anew, which would look like growing memory."""
    for model, x in (
        (models.Cnn(8, 2), torch.rand(4, 1, 8, 8)),
        (models.Gpt(4, 6), torch.zeros(4, 6, dtype=torch.int64)),
        (models.Recurrent(nn.GRU, 2, 2), torch.rand(4, 5, 2)),
    ):
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            model(x).square().mean().backward()
            optimizer.step()


def _file_name(job: Job) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", f"{job.part}-{job.name}".lower())
    sources = (
        _surroundings(job.part, job.scenario.round),
        _source_of(job.scenario.twist),
        _source_of(job.scenario.workload),
    )
    text = "\n".join(sources)
    return f"{readable}-{job.seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


@cache
def _surroundings(part: Part, of_round: int) -> str:
    """Return the source of all that shapes a run of ``part`` beside its twist."""
    modules = [data, models, ranks, training, workloads]
    if part == Part.acceptance:
        modules += [acceptance_data, acceptance_models, acceptance_sequences] if of_round == 1 else [text]
        shared = (f".round{of_round}.data", f".round{of_round}.models")
        modules += [each for name, each in sorted(sys.modules.items()) if name.endswith(shared)]
    client = sorted(Path(observer_client.__file__).parent.glob("*.py"))
    return "\n".join((torch.__version__, *map(inspect.getsource, modules), *(each.read_text() for each in client)))


def _source_of(twist: Callable[..., Any]) -> str:
    """Return the module that defines a twist, its name, and the values that it was made with."""
    module = inspect.getmodule(twist)
    own = _module_source(module.__name__) if module else ""
    values = [cell.cell_contents for cell in twist.__closure__ or ()]
    return f"{own}{twist.__qualname__}{[_value(each) for each in values]}"


@cache
def _module_source(name: str) -> str:
    # The tables say what is expected of a diagnosis, too: that changes no run.
    return "" if name.endswith((".faults", ".healthy", ".mistakes")) else inspect.getsource(sys.modules[name])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return str({name: _value(each) for name, each in value.items()})
    if isinstance(value, tuple):
        return str([_value(each) for each in value])
    if callable(value) and hasattr(value, "__code__"):
        return _code(value.__code__) + _source_of(value)
    return repr(value)


def _code(code: CodeType) -> str:
    # The repr of code inside code holds an address.
    inner = [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{inner}"


def default_workers() -> int:
    return max(1, min(2, os.cpu_count() or 1))
