"""Take the documentation's pictures: ``make screenshots`` or ``python -m docs.screenshots``.

On a fresh server the demo's two networks are trained under observation, the faulty one twice, so that there is a
problem that came back, and somebody has commented on it. Every picture is taken in light and in dark.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser

from tests.pages.chromium import chromium
from tests.processes.machinery import REPOSITORY, environment, serving
from tests.temporary.process import temporary_folder

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 860}
PATIENCE = 120_000
"""Milliseconds, on a machine that trains at the same time."""
TRAININGS = ("digits_faulty", "digits_healthy", "digits_faulty")
PAGES = {
    "home": "/",
    "project": "/projects/{project}",
    "session": "/sessions/{bad}",
    "session-issues": "/sessions/{bad}#issues",
    "layers": "/sessions/{bad}/layers",
    "compare": "/compare?sessions={good},{bad}",
    "problems": "/projects/{project}/problems?status=all",
    "problem": "/problems/{problem}",
    "policy": "/projects/{project}/policy",
    "access": "/projects/{project}/access",
    "check": "/checks/loss-explosion",
    "api": "/api/docs",
}
SCHEMES = {"light": "", "dark": "-dark"}
DRAWN = "document.querySelectorAll('.uplot canvas').length === document.querySelectorAll('#chart').length"


def train(url: str, home: Path) -> None:
    """Train what the demo trains, in the project "Digits"."""
    where = {"MLDIAG_URL": url, "MLDIAG_PROJECT": "Digits", "MLDIAG_DIR": str(home / "runs"), "MLDIAG_MODE": "online"}
    for name in TRAININGS:
        command = [sys.executable, "-m", f"mldiag.demo.{name}"]
        subprocess.run(command, cwd=REPOSITORY, env=environment(home, **where), check=True, stdout=subprocess.DEVNULL)


def described(url: str) -> dict[str, Any]:
    """Return what the addresses name. The diagnoses are complete: the trainings waited for them."""
    ask = requests.Session()
    sessions = ask.get(f"{url}/api/sessions", timeout=60).json()["results"]
    for session, name in zip(reversed(sessions), TRAININGS, strict=True):
        # Where this machine keeps its files is of no interest.
        change = {"environment": {"script": f"{name}.py"}}
        ask.patch(f"{url}/api/sessions/{session['key']}", json=change, timeout=60).raise_for_status()
    problem = ask.get(f"{url}/api/problems", timeout=60).json()["results"][0]["id"]
    comment = {"text": "The schedule warms up to 1.0 where 0.1 was meant."}
    ask.post(f"{url}/api/problems/{problem}/comments", json=comment, timeout=60).raise_for_status()
    project = sessions[0]["project"]["id"]
    return {"project": project, "bad": sessions[0]["id"], "good": sessions[1]["id"], "problem": problem}


def shoot(browser: Browser, url: str, facts: Mapping[str, Any]) -> None:
    for scheme, suffix in SCHEMES.items():
        page = browser.new_page(base_url=url, viewport=SIZE, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        for name, address in PAGES.items():
            page.goto(address.format(**facts), wait_until="load")
            page.wait_for_function(DRAWN)
            page.screenshot(path=IMAGES / f"{name}{suffix}.png")
        page.close()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with temporary_folder("pictures-") as home, serving(home) as (_, url):
        train(url, home)
        with chromium() as browser:
            shoot(browser, url, described(url))


if __name__ == "__main__":
    main()
