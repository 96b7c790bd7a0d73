"""Whether threads inside a diagnosis pay, and processes across files: ``python -m benchmarks.parallel``.

Three ways over the same runs in the same session: one after the other, the checks of each diagnosis in a pool of
threads (the guide's section 11.10), and whole files in processes, as ``mldiag check -j`` judges them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from benchmarks.check_file import document
from diagnostics.engine import CHECKS, Policy, Run, diagnose
from diagnostics.engine.registry import Profile
from diagnostics.engine.thresholds import DEFAULTS
from mldiag.cli.judging import judge_all, runs_in
from mldiag.cli.parallel import Judges
from mldiag.cli.readers import read

SIZES = ((10, 10), (100, 30), (1000, 50))
FILES = 48


def best(work: Callable[[], object], rounds: int) -> float:
    """Return the shortest time of ``work`` in milliseconds."""
    times = []
    for _ in range(rounds):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return 1000 * min(times)


def one_by_one(run: Run) -> list[object]:
    return [check(run, DEFAULTS, Profile.robust) for check in CHECKS.values()]


def in_threads(run: Run, pool: ThreadPoolExecutor) -> list[object]:
    return list(pool.map(lambda check: check(run, DEFAULTS, Profile.robust), CHECKS.values()))


def in_processes(folder: str, jobs: int) -> list[object]:
    found = runs_in([folder])
    return list(judge_all(found, Policy()) if jobs == 1 else Judges(Policy(), jobs).judge_all(found))


def within_a_diagnosis(threads: int, rounds: int) -> None:
    print(f"Checks of one diagnosis, ms, best of {rounds}; {len(CHECKS)} checks, {threads} threads.\n")
    print("| epochs x layers | bytes to columns | checks, one by one | checks, in threads | threads / one by one |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with ThreadPoolExecutor(threads) as pool:
        for epochs, layers in SIZES:
            data = document(epochs, layers)
            run = Run.from_epochs(read(data).epochs)
            diagnose(run)
            columns = best(lambda data=data: Run.from_epochs(read(data).epochs), max(3, rounds // 10))
            alone = best(lambda run=run: one_by_one(run), rounds)
            together = best(lambda run=run: in_threads(run, pool), rounds)
            print(f"| {epochs} x {layers} | {columns:.2f} | {alone:.2f} | {together:.2f} | {together / alone:.2f} |")


def across_files(rounds: int) -> None:
    print(f"\n{FILES} files of 300 epochs x 50 layers, seconds, best of {rounds}; {os.cpu_count()} CPUs.\n")
    print("| processes | s | times as fast |")
    print("| ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FILES):
            (Path(folder) / f"{number}.json").write_bytes(document(300, 50))
        floor = 0.0
        for jobs in sorted({1, 2, os.cpu_count() or 2}):
            took = best(lambda jobs=jobs: in_processes(folder, jobs), rounds) / 1000
            floor = floor or took
            print(f"| {jobs} | {took:.2f} | {floor / took:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    within_a_diagnosis(options.threads, options.rounds)
    across_files(max(2, options.rounds // 15))


if __name__ == "__main__":
    main()
