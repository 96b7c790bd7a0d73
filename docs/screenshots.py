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
from playwright.sync_api import Page

from tests.pages.chromium import chromium
from tests.pages.people import PASSWORD, PERSON, make_person
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
    "choose": "/compare?sessions={bad}",
    "logs": "/sessions/{bad}/logs",
    "run": "/runs/{run}",
    "policy": "/projects/{project}/policy",
    "checks": "/checks",
    "check": "/checks/loss-explosion",
    "thresholds": "/thresholds",
    "api": "/api/docs",
    "sign-in": "/accounts/login",
}
BEFORE = {"first-run": "/"}
"""What there is to see before anything was trained."""
SIGNED_IN = {
    "access": "/projects/{project}/access",
    "account": "/accounts/me",
    "password": "/accounts/password",
    "admin": "/admin/diagnostics/problem/",
    "admin-problem": "/admin/diagnostics/problem/{problem}/change/",
}
LINES = (
    {"level": "INFO", "logger": "digits", "msg": "1,437 digits to learn from, 360 to check by"},
    {"level": "WARNING", "logger": "digits", "msg": "the schedule warms up to a learning rate of 1.0"},
    {"level": "INFO", "logger": "digits", "msg": "24 epochs done"},
)
"""What the demo's trainings, which log nothing, might have logged."""
SCHEMES = {"light": "", "dark": "-dark"}


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
    logs = {"logs": [{"seq": seq, **line} for seq, line in enumerate(LINES)]}
    ask.post(f"{url}/api/sessions/{sessions[0]['key']}/logs", json=logs, timeout=60).raise_for_status()
    problem = ask.get(f"{url}/api/problems", timeout=60).json()["results"][0]["id"]
    comment = {"text": "The schedule warms up to 1.0 where 0.1 was meant."}
    ask.post(f"{url}/api/problems/{problem}/comments", json=comment, timeout=60).raise_for_status()
    bad = sessions[0]["id"]
    run = ask.get(f"{url}/diagnostics/sessions/{bad}", timeout=60).json()["results"][0]["id"]
    project = sessions[0]["project"]["id"]
    return {"project": project, "bad": bad, "good": sessions[1]["id"], "run": run, "problem": problem}


def shoot(page: Page, pages: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    page.set_default_timeout(PATIENCE)
    for name, address in pages.items():
        for scheme, suffix in SCHEMES.items():
            page.emulate_media(color_scheme=scheme)
            page.goto(address.format(**facts), wait_until="load")
            if page.locator("#chart").count():
                page.locator("#chart canvas").first.wait_for()
            page.screenshot(path=IMAGES / f"{name}{suffix}.png")


def sign_in(page: Page, home: Path, project: int) -> None:
    """Make an account that owns the project and has a key to it."""
    make_person(home)
    page.goto("/accounts/login")
    page.get_by_label("Username").fill(PERSON)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"/projects/{project}/access")
    page.get_by_label("What it is for").fill("training in the lab")
    page.get_by_role("button", name="Make the key").click()
    page.goto(f"/projects/{project}/access")
    page.get_by_text("Add a member").click()
    page.get_by_label("User name").fill(PERSON)
    page.get_by_label("As", exact=True).select_option("owner")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name=f"Remove {PERSON}").wait_for()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with temporary_folder("pictures-") as home, serving(home) as (_, url), chromium() as browser:
        page = browser.new_page(base_url=url, viewport=SIZE)
        shoot(page, BEFORE, {})
        train(url, home)
        facts = described(url)
        shoot(page, PAGES, facts)
        sign_in(page, home, facts["project"])
        shoot(page, SIGNED_IN, facts)


if __name__ == "__main__":
    main()
