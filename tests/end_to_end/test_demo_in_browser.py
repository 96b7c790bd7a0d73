"""The demo's training with planted faults, walked through in a real browser from the home page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.pages.chromium import chromium
from tests.processes.machinery import REPOSITORY, serving

pytestmark = [pytest.mark.browser, pytest.mark.processes]


@pytest.fixture
def url(tmp_path):
    with serving(tmp_path) as (_, address):
        variables = {**os.environ, "MLDIAG_URL": address, "MLDIAG_DIR": str(tmp_path / "runs")}
        subprocess.run(
            [sys.executable, "-m", "mldiag.demo.digits_faulty"], cwd=REPOSITORY, env=variables, check=True, timeout=150
        )
        yield address


def test_home_leads_to_the_issue_of_the_bad_run(url):
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(30_000)
        page.goto(url)
        page.get_by_role("link", name="Default project").click()
        page.get_by_role("link", name="digits, planted faults").first.click()
        page.get_by_role("heading", name="Loss explosion").first.wait_for()
        page.get_by_role("heading", name="Memory growth").first.wait_for()
        page.get_by_role("link", name="About loss-explosion").first.click()
        page.get_by_role("heading", name="How to fix it").wait_for()
        assert page.url == f"{url}/checks/loss-explosion"
