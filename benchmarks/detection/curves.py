"""Curves of the trained runs, without any verdict: is the healthy one healthy, does the fault bite?

python -m benchmarks.detection.curves --part acceptance --only overfitting
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.detection.running import ROUNDS, Trained, default_workers, jobs, train_all
from benchmarks.detection.scenario import Part


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.detection.curves", description=__doc__)
    options.add_argument("--part", choices=[*Part], default=Part.acceptance)
    options.add_argument("--round", type=int, choices=ROUNDS)
    options.add_argument("--seeds", type=int, default=1, metavar="N")
    options.add_argument("--only", default="", metavar="NAME")
    options.add_argument("--jobs", type=int, default=default_workers(), metavar="N")
    options.add_argument("--cache", type=Path, default=Path(".detection"), metavar="DIR")
    chosen = options.parse_args()
    wanted = jobs([Part(chosen.part)], chosen.seeds, chosen.only, [chosen.round] if chosen.round else ROUNDS)
    place = {job: number for number, job in enumerate(wanted)}
    for each in sorted(train_all(wanted, chosen.cache, chosen.jobs), key=lambda each: place[each.job]):
        print("\n".join(_lines(each)))


def _lines(run: Trained) -> list[str]:
    epochs = json.loads(run.path.read_bytes())["epochs"]
    scenario = run.job.scenario
    what = "healthy" if scenario.healthy else "fault"
    lines = [f"{run.job.name} {run.job.seed} ({what}, {len(epochs)} epochs)"]
    losses = [epoch.get("loss") or {} for epoch in epochs]
    lines.append(f"  train {_sketch([loss.get('train_mean') for loss in losses])}")
    names = sorted({name for loss in losses for name in loss.get("val") or {}})
    lines += [f"  {name} {_sketch([(loss.get('val') or {}).get(name) for loss in losses])}" for name in names]
    return lines


def _sketch(values: Sequence[Any], points: int = 9) -> str:
    """Return about ``points`` of the values, first and last among them."""
    if len(values) > points:
        values = [values[round(at * (len(values) - 1) / (points - 1))] for at in range(points)]
    return " ".join(f"{each:.3g}" if isinstance(each, float | int) else str(each) for each in values)


if __name__ == "__main__":
    main()
