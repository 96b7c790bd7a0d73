"""A headless Chromium, found as ``tests/chromium.sh`` finds it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
ADVICE = (
    "No Chromium found. Install one (apt-get install chromium, or: python -m playwright install chromium),"
    " name it by CHROMIUM=/path/to/chromium, or skip the browser tests with MLDIAG_ALLOW_NO_BROWSER=1."
)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run a Chromium. Without one the tests fail, unless the caller's environment allows to skip them."""
    with sync_playwright() as playwright:
        browser = _launch(playwright)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright) -> Browser:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    try:
        return playwright.chromium.launch(executable_path=path, args=QUIET)
    except Error as error:
        if os.environ.get("MLDIAG_ALLOW_NO_BROWSER"):
            # Counted, and printed with its reason by -ra at the end of the run.
            pytest.skip(f"BROWSER TESTS SKIPPED! {ADVICE}")
        pytest.fail(f"{ADVICE}\n{error}", pytrace=False)
