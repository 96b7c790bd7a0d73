"""What a diagnosis costs, against parsing the JSON of the same run with orjson: ``python -m benchmarks.engine``.

Every figure is a ratio to ``orjson.loads`` in the same round of the same process, the median of all rounds: machines
differ, ratios hardly do. Two floors stand beside it: joining the bytes is the least that reading them costs, and five
calls of NumPy for each check the least that vectorized checks cost, however small the run. The last lines tell how the
time grows, and what a model costs all of whose layers are broken.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median

import numpy as np

from benchmarks import naive
from benchmarks.interleaved import ratios, seconds
from diagnostics.engine import CHECKS, Run, diagnose
from observer_client.packed import pack
from observer_client.record import (
    Carbon,
    Epoch,
    LayerHealth,
    LayerStats,
    LayerTime,
    Loss,
    Memory,
    Profile,
    Steps,
    System,
    Throughput,
    to_json,
)

SIZES = {"10x10": (10, 10), "100x30": (100, 30), "1000x50": (1000, 50), "1000x200": (1000, 200)}


def make_epoch(number: int, layers: int) -> Epoch:
    """Return an epoch as the observer sends it: eight statistics and three flags a layer, a profile, 20 buckets."""
    loss = 0.2 + 2 * math.exp(-number / 30)
    names = [f"features.{layer}.conv" for layer in range(layers)]
    return Epoch(
        epoch=number,
        duration_seconds=12.5 + 0.01 * (number % 7),
        learning_rate=1e-3,
        loss=Loss(
            train_mean=loss,
            train_std=0.1 * loss,
            train_min=0.7 * loss,
            train_max=1.5 * loss,
            n_batches=200,
            val={"val_loss": 1.05 * loss, "val_acc": 1 - loss / 3},
        ),
        throughput=Throughput(samples_per_second=1200.0 + number % 5, samples_processed=50000),
        memory=Memory(process_rss_mb=2048.0),
        system=System(cpu_percent=55.0),
        carbon_emissions=Carbon(epoch_co2_kg=2.3e-5, epoch_energy_kwh=1e-4, power_draw_watts=45.0),
        profiler=Profile(
            total_cpu_time_ms=1500.0,
            total_cuda_time_ms=0.0,
            fwd_bwd_ratio=0.5,
            per_layer=[LayerTime(name=name, pct_total=100 / layers) for name in names],
        ),
        layer_health=LayerHealth(layers={name: make_layer(number, at) for at, name in enumerate(names)}),
        steps=Steps(first=list(range(20)), count=[10] * 20, loss_mean=[loss] * 20, loss_max=[1.5 * loss] * 20),
    )


def make_layer(number: int, at: int) -> LayerStats:
    return LayerStats(
        gradient_norm_mean=0.01234567 / (1 + number),
        gradient_norm_max=0.0456789 + at,
        gradient_norm_std=0.00123456,
        weight_norm=3.456789 + number,
        weight_sparsity=0.0123456,
        activation_mean=0.456789,
        activation_variance=0.987654,
        activation_var_of_means=0.00123456,
        has_vanishing_gradients=False,
        is_dead=False,
        has_frozen_output=False,
    )


def best(work: Callable[[], object], rounds: int) -> float:
    """Return the shortest time of ``work`` in seconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def break_layers(epoch: Epoch) -> Epoch:
    """Let every layer of ``epoch`` be dead, collapsed and without a gradient."""
    for layer in epoch.layer_health.layers.values() if epoch.layer_health else ():
        layer.gradient_norm_mean = layer.activation_variance = 1e-12
        layer.weight_sparsity, layer.is_dead, layer.has_frozen_output = 0.99, True, True
    return epoch


def measure(epochs: int, layers: int, rounds: int) -> dict[str, float]:
    records = [make_epoch(number, layers) for number in range(epochs)]
    document = f"[{','.join(to_json(record) for record in records)}]".encode()
    dicts = json.loads(document)
    blobs = [pack(record) for record in records]
    run = Run.from_packed(blobs)
    column = run.column("loss.train_mean").values
    work: dict[str, Callable[[], object]] = {
        "parse": lambda: parser()(document),
        "packed -> Run": lambda: Run.from_packed(blobs),
        "checks on columns": lambda: diagnose(replace(run)),
        "packed -> report": lambda: diagnose(Run.from_packed(blobs)),
        "dicts -> Run": lambda: Run.from_epochs(dicts),
        "dicts -> report": lambda: diagnose(Run.from_epochs(dicts)),
        "dicts, 12 checks as loops": lambda: naive.diagnose(dicts),
        "floor: join of the bytes": lambda: b"".join(blobs),
        "floor: 5 NumPy calls a check": lambda: [np.isfinite(column).all() for _ in range(5 * len(CHECKS) // 2)],
    }
    times = seconds(work, rounds)
    return {"parse, ms": 1000 * median(times["parse"])} | ratios(times, "parse")


def parser() -> Callable[[bytes], object]:
    if importlib.util.find_spec("orjson"):
        import orjson

        return orjson.loads
    return json.loads


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    rounds = options.parse_args().rounds
    columns = {name: measure(*size, rounds) for name, size in SIZES.items()}
    name = f"{parser().__module__}.{parser().__name__}"
    print(f"{len(CHECKS)} checks. Times as ratios to {name} of the same run, median of {rounds} rounds.\n")
    print("| | " + " | ".join(f"{name} (epochs x layers)" for name in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} | " + " | ".join(f"{column[row]:.3g}" for column in columns.values()) + " |")
    print(f"\nFour times the layers cost {_growth(columns):.2g} times as much (packed -> report); 4 is linear.")
    for layers in (2_000, 20_000):
        blobs = [pack(break_layers(make_epoch(number, layers))) for number in range(10)]
        took = best(lambda blobs=blobs: diagnose(Run.from_packed(blobs)).as_dict(), 3)
        print(f"10 epochs of {layers:,} broken layers: {took:.2f} s.")


def _growth(columns: Mapping[str, Mapping[str, float]]) -> float:
    """Return the time of the last size over that of the last but one."""
    less, more = (column["packed -> report"] * column["parse, ms"] for column in list(columns.values())[-2:])
    return more / less


if __name__ == "__main__":
    main()
