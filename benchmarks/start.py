"""What opening and closing an observer costs a process, its memory and its disk: ``python -m benchmarks.start``."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter

from tests.client.server import IngestServer

STEPS = 20_000
NAMES = (
    "nothing",
    "observer",
    "observer, server up",
    "observer, no server",
    "TensorBoard",
    "W&B, offline",
    "Trackio",
    "MLflow, SQLite",
)
GOALS = "goals: 0.15 s to open, 0.1 s to close (10 s without server), 15 MB, 0 MB more, one thread, 32 bytes a step"
LONGER = 5
"""By how much more steps memory is looked at again: it must not grow."""
FEW = 500
"""Steps of those whose call takes milliseconds."""


def run(name: str) -> dict[str, float]:
    """Measure ``name`` in this process."""
    import psutil
    import torch

    torch.set_num_threads(1)
    # What any training has loaded before it imports an observer.
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(torch.randn(2, 4)).sum()
    loss.backward()
    optimizer.step()
    process, threads = psutil.Process(), threading.active_count()
    before, children = process.memory_info().rss, len(process.children(recursive=True))
    steps = STEPS if name.startswith(("nothing", "observer")) else FEW
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        recorder = _open(name, folder, model)
        opened = perf_counter()
        for number in range(steps):
            recorder.step(number, loss, batch_size=64)
        early = process.memory_info().rss
        for number in range(steps, LONGER * steps):
            recorder.step(number, loss, batch_size=64)
        found: dict[str, float] = {
            "open s": opened - began,
            "RSS MB": (early - before) / 2**20,
            "more MB": (process.memory_info().rss - early) / 2**20,
            "threads": threading.active_count() - threads,
            "helpers": len(process.children(recursive=True)) - children,
        }
        began = perf_counter()
        recorder.close()
        found["close s"] = perf_counter() - began
        found["bytes a step"] = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file()) / (
            LONGER * steps
        )
    return found


def _open(name: str, folder: str, model: object) -> object:
    # The import is part of what is measured; that of torch and psutil is not.
    from benchmarks import recorders

    if name == "observer, no server":
        return recorders.observer(folder, model, mode="online", url="http://127.0.0.1:9", close_seconds=10)
    if name == "observer, server up":
        # Its address stands in MLDIAG_URL.
        return recorders.observer(folder, model, mode="online", close_seconds=10)
    made = {"nothing": recorders.nothing, "observer": recorders.observer, **recorders.PEERS}
    return made[name](folder, model)


def measured(name: str) -> dict[str, float] | None:
    """Measure ``name`` in a process of its own; None where it is not installed."""
    server = IngestServer()
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.start", "--one", name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLDIAG_URL": server.url},
    )
    server.stop()
    if found.returncode:
        if "ModuleNotFoundError" in found.stderr:
            return None
        raise RuntimeError(f"{name}: {found.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return figures


def print_table(rounds: int) -> None:
    """Print what each costs, the medians of ``rounds``."""
    columns = ("open s", "close s", "RSS MB", "more MB", "threads", "helpers", "bytes a step")
    print(f"\n{'start':24}" + "".join(f"{column:>14}" for column in columns) + f"   {GOALS}")
    for name in NAMES:
        known = [figures for _ in range(rounds) if (figures := measured(name)) is not None]
        values = [statistics.median(figures[column] for figures in known) for column in columns] if known else []
        print(f"{name:24}" + ("".join(f"{value:14.2f}" for value in values) or "  absent"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--one", choices=NAMES, help="measure this in this process and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one)))
    else:
        print_table(options.rounds)


if __name__ == "__main__":
    main()
