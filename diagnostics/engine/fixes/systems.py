"""Fixes of what the machine does: loading, memory, devices."""

from __future__ import annotations

from diagnostics.engine.fixes.dynamics import load
from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import lines
from diagnostics.engine.issue import IssueData
from diagnostics.engine.reading import integer

_MOST_WORKERS = 8


@recipe("input-bound")
def load_in_parallel(facts: Facts, issue: IssueData) -> str:
    cpus = integer(facts.run.environment.get("cpus"))
    workers = max(2, min(_MOST_WORKERS, cpus - 1)) if cpus else 4
    known = f"this machine has {cpus} CPUs" if cpus else "4 workers are a start"
    return lines(
        f"# Before training: prepare batches while the model computes; {known}.",
        "train_loader = torch.utils.data.DataLoader(",
        "    train_loader.dataset,",
        f"    batch_size={facts.batch_size or 'train_loader.batch_size'},",
        "    shuffle=True,",
        f"    num_workers={workers},",
        "    persistent_workers=True,",
        "    pin_memory=torch.cuda.is_available(),",
        ")",
    )


@recipe("device-underutilization")
def use_device(facts: Facts, issue: IssueData) -> str | None:
    if not facts.run.environment.get("devices"):
        return None
    return lines(
        "# Before the optimizer is made; x and y go to the device as well, each batch.",
        'device = torch.device("cuda")',
        "model.to(device)",
    )


@recipe("gpu-memory-pressure")
def halve_batch(facts: Facts, issue: IssueData) -> str | None:
    size = facts.batch_size
    return None if size is None or size < 2 else load(facts, size // 2, "half a batch needs about half the memory")


@recipe("gpu-underutilized")
def double_batch(facts: Facts, issue: IssueData) -> str | None:
    size = facts.batch_size
    return None if size is None else load(facts, size * 2, "a larger batch gives the device more to do at once")
