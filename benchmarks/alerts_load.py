"""Sessions that go on while `benchmarks.alerts` measures, in a process of their own.

    python -m benchmarks.alerts_load URL SESSIONS SECONDS_AN_EPOCH EPOCHS_BEFORE

Each has reported so many epochs when the process says "going on", and then reports one after the other.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import requests

from observer_client.record import Epoch, LayerHealth, LayerStats, Loss, to_json

LAYERS = 30
BATCH = 100
GOING_ON = "going on"


def healthy(number: int) -> str:
    """Return an epoch of a calm training as JSON."""
    loss = 0.2 + 2.0 * 0.97**number
    layer = LayerStats(gradient_norm_mean=0.1 * loss, weight_norm=3.0, update_ratio=1e-3, activation_variance=0.9)
    health = LayerHealth(layers={f"blocks.{index}": layer for index in range(LAYERS)})
    return to_json(Epoch(epoch=number, loss=Loss(train_mean=loss, val={"val_loss": 1.1 * loss}), layer_health=health))


def train(url: str, before: int, every: float, place: float, ready: threading.Barrier) -> None:
    """Report healthy epochs for ever: ``before`` at once, then one every so many seconds."""
    http = requests.Session()
    session = f"{url}/api/sessions/{uuid4()}"

    def report(numbers: range) -> None:
        data, headers = f"[{','.join(map(healthy, numbers))}]", {"Content-Type": "application/json"}
        http.post(f"{session}/epochs", data=data, headers=headers, timeout=60).raise_for_status()

    http.put(session, json={"run_name": "going on"}, timeout=60).raise_for_status()
    for start in range(0, before, BATCH):
        report(range(start, min(start + BATCH, before)))
    ready.wait()
    pause = threading.Event()
    pause.wait(place * every)
    for number in count(before):
        report(range(number, number + 1))
        pause.wait(every)


@contextlib.contextmanager
def going_on(url: str, sessions: int, every: float, before: int) -> Iterator[None]:
    """Keep so many sessions going as long as the block lasts."""
    if not sessions:
        yield
        return
    command = [sys.executable, "-m", __name__, url, str(sessions), str(every), str(before)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != GOING_ON:
            raise RuntimeError("the other sessions did not start")
        yield
        if process.poll() is not None:
            raise RuntimeError("the other sessions ended early")
    finally:
        process.kill()
        process.wait()


def main() -> None:
    url, sessions, every, before = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    ready = threading.Barrier(sessions + 1)
    for number in range(sessions):
        arguments = (url, before, every, number / sessions, ready)
        threading.Thread(target=train, args=arguments).start()
    ready.wait()
    print(GOING_ON, flush=True)


if __name__ == "__main__":
    main()
