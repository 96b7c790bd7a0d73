"""What judging a file costs: bytes to report, against orjson's parse of the same bytes.

    python benchmarks/check_file.py [--repeat N]

Both run in this process on the same bytes, turn by turn; the best of N counts. The target is 1.25 times orjson.
The lines between say where the time goes.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
from collections.abc import Callable
from dataclasses import fields
from time import perf_counter

import msgspec
import orjson

from diagnostics.engine import Policy, Run
from mldiag.cli.judging import judge
from mldiag.cli.readers import read
from mldiag.cli.structs import RUN_FILE
from observer_client.record import LayerStats

SIZES = ((10, 10), (100, 30), (1000, 50), (1000, 200))
TARGET = 1.25
POLICY = Policy()
FIGURES = tuple(each.name for each in fields(LayerStats) if "float" in str(each.type))
FLAGS = tuple(each.name for each in fields(LayerStats) if "bool" in str(each.type))


def layer(chance: random.Random) -> dict[str, object]:
    # Figures of a healthy run move little from epoch to epoch, and have as many digits as any.
    figures = {name: (0.001 if name == "update_ratio" else 0.05) * (1 + 0.04 * chance.random()) for name in FIGURES}
    return figures | {name: name == "trainable" for name in FLAGS} | {"non_finite_gradients": 0}


def epoch(number: int, layers: int, chance: random.Random) -> dict[str, object]:
    loss = 0.1 + 2.0 * 0.97**number + 0.01 * chance.random()
    return {
        "epoch": number,
        "duration_seconds": 12 + chance.random(),
        "learning_rate": 1e-3,
        "loss": {
            "train_mean": loss,
            "train_std": 0.1 * loss,
            "train_max": 2 * loss,
            "n_batches": 100,
            "val": {"val_loss": loss},
        },
        "throughput": {"samples_per_second": 1200 + chance.random(), "samples_processed": 50_000},
        "memory": {"process_rss_mb": 2048 + chance.random()},
        "system": {"cpu_percent": 55.0},
        "layer_health": {"layers": {f"blocks.{i}.attention.weight": layer(chance) for i in range(layers)}},
    }


def document(epochs: int, layers: int) -> bytes:
    """Return a run as `Observer.export` writes it."""
    chance = random.Random(epochs)
    made = [epoch(number, layers, chance) for number in range(epochs)]
    return json.dumps({"format": 1, "epochs": made}, separators=(",", ":")).encode()


def seconds(call: Callable[[], object]) -> float:
    gc.collect()
    began = perf_counter()
    call()
    return perf_counter() - began


def measure(data: bytes, repeat: int) -> dict[str, float]:
    """Return the best time of each way, in seconds."""
    decode = msgspec.json.Decoder(RUN_FILE, strict=False).decode
    run = read(data)
    columns = Run.from_epochs(run.epochs)
    ways: dict[str, Callable[[], object]] = {
        "orjson.loads": lambda: orjson.loads(data),
        "decode into structs": lambda: decode(data),
        "structs to columns": lambda: Run.from_epochs(run.epochs),
        "bytes to report": lambda: judge(data, POLICY),
    }
    assert len(columns) == len(run.epochs)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeat):
        for name, call in ways.items():
            best[name] = min(best[name], seconds(call))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    for epochs, layers in SIZES:
        data = document(epochs, layers)
        best = measure(data, repeat)
        floor = best["orjson.loads"]
        print(f"{epochs} epochs x {layers} layers, {len(data) / 1e6:.1f} MB")
        for name, took in best.items():
            print(f"  {name:22} {1000 * took:8.1f} ms   {took / floor:5.2f} x orjson")
        verdict = "met" if best["bytes to report"] <= TARGET * floor else "missed"
        print(f"  target {TARGET} x orjson: {verdict}")


if __name__ == "__main__":
    main()
