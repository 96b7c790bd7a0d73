"""Take the documentation's pictures from a server that holds the demo's runs: ``python -m docs.screenshots [URL]``.

``make demo`` makes the runs; the newest is the one with the planted faults.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.pages.chromium import chromium

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 860}


def shoot(page: Page, url: str) -> None:
    """Save the newest session's page and its project's."""
    session = page.request.get(f"{url}/api/sessions").json()["results"][0]
    page.goto(f"{url}/projects/{session['project']['id']}")
    page.screenshot(path=IMAGES / "project.png")
    page.goto(f"{url}/sessions/{session['id']}")
    page.locator(".uplot canvas").wait_for()
    page.screenshot(path=IMAGES / "session.png")


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        shoot(browser.new_page(viewport=SIZE, color_scheme="light"), url)


if __name__ == "__main__":
    main()
