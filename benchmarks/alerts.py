"""How soon a fault is on the screen, and where the time goes: ``python -m benchmarks.alerts``.

With other sessions going on, an Observer flushes an epoch whose loss is NaN. The clock stops when the alert stands
in a page that is open in Chromium; the page of the project follows along meanwhile. Beside it, in turns, the floor
(`benchmarks.alerts_floor`): a row stored and pushed to a page in the same browser by the least of servers on the
same database.

    python -m benchmarks.alerts [--sessions 20] [--every 2.0] [--history 100] [--samples 40] [--stack embedded]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.alerts_floor import FloorClient, floor
from benchmarks.alerts_load import going_on
from benchmarks.alerts_stacks import STACKS, Stack
from observer_client import Observer, ObserverConfig
from tests.pages.chromium import chromium
from tests.temporary.process import temporary_folder

GOAL_MILLISECONDS = 300.0
PATIENCE = 30_000
UNMEASURED = 3
"""Alerts before the first that counts: imports, connections, plans of the database."""
NOTE_ARRIVALS = """
window.arrivals = [];
window.messages = [];
const now = () => performance.timeOrigin + performance.now();
window.WebSocket = class extends WebSocket {
    constructor(...all) {
        super(...all);
        this.addEventListener("message", (event) => window.messages.push([event.data, now()]));
    }
};
const note = (records) => {
    const added = records.flatMap((record) => [...record.addedNodes]);
    for (const item of added.filter((each) => each.matches?.("#alerts > *"))) {
        // The moment it is painted, not the moment it is made.
        requestAnimationFrame(() => window.arrivals.push([item.textContent, now()]));
    }
};
new MutationObserver(note).observe(document, { childList: true, subtree: true });
"""
ARRIVED = "name => window.arrivals.find(([text]) => text.includes(name))?.[1]"
TOLD = "name => window.messages.find(([text]) => text.includes(name))[1]"
STAGES = {
    "flush() returns": "the epoch is on disk",
    "received": "spool, sender, HTTP, decoding",
    "queued": "the epoch is stored",
    "begun": "commit, doorbell, worker",
    "judged": "reading, checks, the alert is made",
    "told": "commit, channel layer, WebSocket",
    "painted": "the page",
}


def open_page(browser: Browser, url: str) -> Page:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(NOTE_ARRIVALS)
    page.goto(url)
    return page


def arrival(page: Page, name: str) -> float:
    return float(page.wait_for_function(ARRIVED, arg=name, polling=50).json_value())


def sample(stack: Stack, folder: Path, page: Page, name: str) -> list[float]:
    """Return the moments of one alert from before ``flush()`` to its first frame, in milliseconds."""
    config = ObserverConfig(url=stack.url, directory=str(folder), mode="online", quiet=True)
    with Observer(project_id=1, run_name=name, config=config) as observer:
        for loss in (2.0, 1.5):
            observer.step(0, loss)
            observer.flush(val_metrics={"val_loss": loss})
        time.sleep(1.0)
        observer.step(0, float("nan"))
        flushed = 1000 * time.time()
        observer.flush(val_metrics={"val_loss": float("nan")})
        returned = 1000 * time.time()
        painted = arrival(page, name)
        return [flushed, returned, *stack.moments(name, epoch=2), page.evaluate(TOLD, name), painted]


def floor_sample(client: FloorClient, page: Page, name: str) -> float:
    """Return the milliseconds from sending to the first frame of the least that an alert takes."""
    began = 1000 * time.time()
    client.send(name)
    return arrival(page, name) - began


def measure(stack: Stack, home: Path, chosen: argparse.Namespace) -> bool:
    """Print what one stack takes; returns whether it is within the goal."""
    ours, floors = [], []
    others = going_on(stack.url, chosen.sessions, chosen.every, chosen.history)
    with others, floor(stack.floor) as least, chromium() as browser:
        floor_page = open_page(browser, least.url)
        page = open_page(browser, f"{stack.url}/projects/1")
        page.get_by_text("Live", exact=True).wait_for()
        for number in range(chosen.samples + UNMEASURED):
            name = f"sample-{number:03}"
            floors.append(floor_sample(least, floor_page, name))
            ours.append(sample(stack, home / "runs", page, name))
    return report(stack.title, ours[UNMEASURED:], floors[UNMEASURED:], chosen)


def report(title: str, ours: list[list[float]], floors: list[float], chosen: argparse.Namespace) -> bool:
    print(f"{title}: {chosen.sessions} sessions going on, {chosen.history} epochs old, one more each {chosen.every} s")
    print(f"({os.cpu_count()} cores, {os.getloadavg()[0]:.1f} processes wanting them in the last minute)")
    for place, (stage, work) in enumerate(STAGES.items()):
        line(f"  {stage}", [moments[place + 1] - moments[place] for moments in ours], work)
    whole = [moments[-1] - moments[0] for moments in ours]
    line("flush to alert", whole, f"longest {max(whole):.0f} ms, {len(whole)} alerts")
    line("floor: row, push", floors, "POST to frame, no diagnosis")
    p50, p95 = (quantile(whole, percent) for percent in (50, 95))
    over = f"{p50 / quantile(floors, 50):.1f} x (p50), {p95 / quantile(floors, 95):.1f} x (p95)"
    kept = "kept" if p95 <= GOAL_MILLISECONDS else "MISSED"
    print(f"  over the floor {over}; goal p95 at most {GOAL_MILLISECONDS:.0f} ms: {kept}")
    return p95 <= GOAL_MILLISECONDS


def line(name: str, times: list[float], remark: str) -> None:
    print(f"{name:20} p50 {quantile(times, 50):7.1f} ms   p95 {quantile(times, 95):7.1f} ms   {remark}", flush=True)


def quantile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--every", type=float, default=2.0, help="seconds an epoch of each of them takes")
    parser.add_argument("--history", type=int, default=100, help="epochs that each of them has behind it")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--stack", choices=STACKS, action="append", help="default: all")
    chosen = parser.parse_args()
    kept = []
    for name in chosen.stack or STACKS:
        with ExitStack() as stack:
            home = stack.enter_context(temporary_folder("alerts-"))
            kept.append(measure(stack.enter_context(STACKS[name](home)), home, chosen))
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
