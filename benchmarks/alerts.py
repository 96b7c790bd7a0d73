"""How soon a fault is on the screen: ``python -m benchmarks.alerts``.

On the server as a user starts it, with other sessions going on, an Observer flushes an epoch whose loss is NaN. The
clock stops when the alert stands in a page that is open in Chromium: in between lie the spool, HTTP, ingest, the
diagnosis, the WebSocket and the browser. The pages of that project and of its sessions follow along meanwhile.

    python -m benchmarks.alerts [--sessions 20] [--every 2.0] [--samples 40]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from uuid import uuid4

import requests
from playwright.sync_api import Page

from observer_client import Observer, ObserverConfig
from observer_client.record import Epoch, Loss, to_json
from tests.pages.chromium import chromium
from tests.processes.machinery import serving
from tests.temporary.process import temporary_folder

GOAL_MILLISECONDS = 300.0
PATIENCE = 30_000
NOTE_ARRIVALS = """() => {
    window.arrivals = [];
    const note = (records) => {
        for (const item of records.flatMap((record) => [...record.addedNodes])) {
            // The moment it is painted, not the moment it is made.
            const now = () => performance.timeOrigin + performance.now();
            requestAnimationFrame(() => window.arrivals.push([item.textContent, now()]));
        }
    };
    new MutationObserver(note).observe(document.getElementById("alerts"), { childList: true });
}"""
ARRIVED = "name => window.arrivals.find(([text]) => text.includes(name))?.[1]"


def train(url: str, every: float, stop: threading.Event) -> None:
    """Report healthy epochs until told to stop."""
    http = requests.Session()
    session = f"{url}/api/sessions/{uuid4()}"
    http.put(session, json={"run_name": "going on"}, timeout=60).raise_for_status()
    for number in count():
        loss = 0.2 + 2.0 * 0.97**number
        epoch = Epoch(epoch=number, loss=Loss(train_mean=loss, val={"val_loss": 1.1 * loss}))
        headers = {"Content-Type": "application/json"}
        http.post(f"{session}/epochs", data=f"[{to_json(epoch)}]", headers=headers, timeout=60).raise_for_status()
        if stop.wait(every):
            return


def sample(url: str, folder: Path, page: Page, name: str) -> float:
    """Return the milliseconds from ``flush()`` to the alert's first frame."""
    config = ObserverConfig(url=url, directory=str(folder), mode="online", quiet=True, track_carbon_emissions=False)
    with Observer(project_id=1, run_name=name, config=config) as observer:
        for loss in (2.0, 1.5):
            observer.step(0, loss)
            observer.flush(val_metrics={"val_loss": loss})
        time.sleep(1.0)
        observer.step(0, float("nan"))
        flushed = time.time()
        observer.flush(val_metrics={"val_loss": float("nan")})
        arrived = page.wait_for_function(ARRIVED, arg=name, timeout=PATIENCE, polling=20).json_value()
    return float(arrived) - 1000 * flushed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--every", type=float, default=2.0, help="seconds an epoch of each of them takes")
    parser.add_argument("--samples", type=int, default=40)
    chosen = parser.parse_args()
    stop = threading.Event()
    with ExitStack() as stack:
        home = stack.enter_context(temporary_folder("alerts-"))
        url = stack.enter_context(serving(home))[1]
        others = [threading.Thread(target=train, args=(url, chosen.every, stop)) for _ in range(chosen.sessions)]
        for other in others:
            other.start()
        try:
            page = stack.enter_context(chromium()).new_page()
            page.goto(f"{url}/projects/1")
            page.get_by_text("Live", exact=True).wait_for()
            page.evaluate(NOTE_ARRIVALS)
            times = [sample(url, home / "runs", page, f"sample {number:03}") for number in range(chosen.samples)]
        finally:
            stop.set()
            for other in others:
                other.join()
    parts = statistics.quantiles(times, n=100, method="inclusive")
    print(f"{chosen.sessions} sessions going on, an epoch each {chosen.every} s; {len(times)} alerts")
    print(f"flush to alert: p50 {parts[49]:.0f} ms, p95 {parts[94]:.0f} ms, longest {max(times):.0f} ms", end=" ")
    print(f"(goal: p95 at most {GOAL_MILLISECONDS:.0f} ms)")
    return 0 if parts[94] <= GOAL_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
