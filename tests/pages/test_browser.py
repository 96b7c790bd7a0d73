"""What a person sees and does: a real browser on the server as a user starts it, with runs judged by the engine."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager

import pytest
import requests

from observer_client.record import Architecture, LayerInfo, to_json
from tests.pages.chromium import chromium
from tests.pages.rows import MARKUP, epoch
from tests.processes.machinery import serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

BAD_KEY = "0f6a3f0c-6a34-4a6c-8a0e-0f8a5f1c2b01"
GOOD_KEY = "0f6a3f0c-6a34-4a6c-8a0e-0f8a5f1c2b02"
TASK_KEY = "0f6a3f0c-6a34-4a6c-8a0e-0f8a5f1c2b03"
BAD_LOSSES = [2.3, 1.2, 0.8, 0.7, 9.0, 30.0, math.nan, math.nan]
FOCUSED = "document.activeElement.matches('a, button') ? document.activeElement.textContent : ''"
PATIENCE = 30_000
"""Milliseconds; only a failing test waits so long."""


def send(url, method, path, body, **headers):
    answer = requests.request(
        method,
        f"{url}/api{path}",
        data=to_json(body),
        headers={"Content-Type": "application/json"} | headers,
        timeout=60,
    )
    answer.raise_for_status()
    return answer.json()


def train(url, key, name, losses):
    """Report a run as a client does, and wait for its diagnosis. Returns the path of its page."""
    opened = send(url, "PUT", f"/sessions/{key}", {"key": key, "run_name": name, "hyperparameters": {"lr": 0.5}})
    layers = {MARKUP: LayerInfo(type="Linear", parameters=64), "conv": LayerInfo(type="Conv2d", parameters=32)}
    send(url, "PUT", f"/sessions/{key}/model", Architecture(model_class="Net", total_parameters=96, layers=layers))
    epochs = b",".join(epoch(number, loss, loss * 1.1) for number, loss in enumerate(losses))
    requests.post(
        f"{url}/api/sessions/{key}/epochs",
        data=b"[" + epochs + b"]",
        headers={"Content-Type": "application/json"},
        timeout=60,
    ).raise_for_status()
    send(url, "POST", f"/sessions/{key}/logs", {"logs": [{"seq": 0, "msg": MARKUP, "level": "WARNING"}]})
    send(url, "POST", f"/sessions/{key}/finish", {"status": "finished"}, Prefer="wait=30")
    return f"/sessions/{opened['id']}"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as (_, address):
        yield address


@pytest.fixture(scope="module")
def bad(url):
    return train(url, BAD_KEY, f"too hot {MARKUP}", BAD_LOSSES)


@pytest.fixture(scope="module")
def good(url):
    return train(url, GOOD_KEY, "calm", [2.3 * 0.8**number + 0.1 for number in range(20)])


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@contextmanager
def visiting(browser, url, path, **options):
    """Open a page that must not complain on its console, whatever is done with it."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(PATIENCE)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path, wait_until="networkidle")
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def visit(browser, url):
    """``with visit(path) as page``: the page must not complain on its console."""
    return lambda path, **options: visiting(browser, url, path, **options)


def tab_to(page, name, limit=160):
    """Press Tab until the link or button of that name has the focus, as somebody without a mouse does."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if name in page.evaluate(FOCUSED):
            return
    raise AssertionError(f"no way to {name!r} by keyboard")


def background(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_clicking_leads_from_home_to_an_issue_and_its_explanation(visit, bad):
    with visit("/") as page:
        page.get_by_role("link", name="Default project").click()
        page.get_by_role("rowheader", name="too hot").get_by_role("link").click()
        page.get_by_role("heading", name="NaN or infinite loss").first.wait_for()
        page.get_by_role("link", name="About nan-in-loss").first.click()
        page.get_by_role("heading", name="How to fix it").wait_for()


def test_the_keyboard_leads_there_too(visit, bad):
    with visit("/") as page:
        for name in ("Default project", "too hot", "About nan-in-loss"):
            tab_to(page, name)
            with page.expect_navigation():
                page.keyboard.press("Enter")
        assert page.url.endswith("/checks/nan-in-loss")


def test_the_first_tab_skips_to_the_content(visit, bad):
    with visit(bad) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


PAGES = ["/", "/projects/1", "{bad}", "{good}", "{bad}/logs", "/runs/1", "/checks", "/checks/loss-explosion"]
PAGES += ["/thresholds", "/api/docs", "/accounts/login", "/projects/1?q=nothing&sort=-score"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_complains_or_scrolls_sideways(visit, bad, good, path, width):
    with visit(path.format(bad=bad, good=good), viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("h1").count() == 1


def test_the_chart_is_drawn(visit, bad):
    with visit(bad) as page:
        page.locator("#chart canvas").wait_for()
        colors = page.evaluate(
            """() => {
                const canvas = document.querySelector("#chart canvas");
                const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                return new Set(new Uint32Array(pixels.buffer)).size;
            }"""
        )
        assert colors > 10
        assert "2 point(s)" in page.locator("#chart").inner_text()


def test_the_baseline_is_a_curve_of_the_chart(visit, url):
    send(url, "PUT", "/projects/1/baselines/digits", {"metric": "loss", "value": 0.25})
    opened = send(
        url, "PUT", f"/sessions/{TASK_KEY}", {"run_name": "with a task", "hyperparameters": {"task": "digits"}}
    )
    send(url, "POST", f"/sessions/{TASK_KEY}/epochs", [json.loads(epoch(at, 1.0 / (at + 1), 1.0)) for at in range(5)])
    send(url, "POST", f"/sessions/{TASK_KEY}/finish", {"status": "finished"}, Prefer="wait=30")
    with visit(f"/sessions/{opened['id']}") as page:
        page.get_by_label("Log scale").check()
        assert page.locator("#chart .u-legend .u-label").all_text_contents()[-1] == "baseline digits"
        page.get_by_label("Smoothing").fill("0.5")
        assert page.locator("#chart .u-legend .u-label").count() == 6


def test_the_chart_has_a_logarithmic_scale(visit, bad):
    with visit(bad) as page:
        page.get_by_role("checkbox", name="Log scale").check()
        assert page.locator("#chart canvas").count() == 1


def test_a_severity_leaves_its_issues_without_loading_the_page(visit, bad):
    with visit(bad) as page:
        page.evaluate("window.isStillHere = true")
        page.get_by_role("navigation", name="Severity").get_by_role("link", name="critical").click()
        page.wait_for_url("**severity=critical**")
        page.get_by_role("heading", name="NaN or infinite loss").first.wait_for()
        assert page.locator(".issue-warning").count() == 0
        assert page.evaluate("window.isStillHere")
        page.go_back()
        page.locator("h1").wait_for()


def test_filtering_leaves_what_matches(visit, bad, good):
    with visit("/projects/1") as page:
        page.get_by_role("searchbox").press_sequentially("calm")
        page.get_by_role("rowheader", name="too hot").wait_for(state="detached")
        assert page.locator("tbody tr").count() == 1
        assert "q=calm" in page.url


def test_diagnosing_again_shows_the_new_verdict(visit, good):
    with visit(good) as page:
        before = page.get_by_role("region", name="Diagnoses").locator("li").count()
        with page.expect_event("load"):
            page.get_by_role("button", name="Diagnose again").click()
        assert page.get_by_role("region", name="Diagnoses").locator("li").count() == before + 1


def test_a_link_to_a_type_of_the_api_unfolds_it(visit):
    with visit("/api/docs") as page:
        page.get_by_text("POST /api/projects", exact=True).click()
        page.locator("details[open] a[href^='#type-']").first.click()
        page.locator("details[open][id^='type-']").wait_for()
        assert page.locator("details[open][id^='type-']").count() == 1


def test_markup_stays_text(visit, bad):
    with visit(bad) as page:
        page.on("dialog", lambda dialog: pytest.fail("markup of a run was executed"))
        assert MARKUP in page.locator("h1").inner_text()
        assert page.locator("main img").count() == 0


def test_dark_is_what_the_system_asks_for(visit, bad):
    with visit(bad, color_scheme="light") as light, visit(bad, color_scheme="dark") as dark:
        assert sum(map(int, background(light)[4:-1].split(","))) > 700
        assert sum(map(int, background(dark)[4:-1].split(","))) < 100


def test_a_chosen_theme_is_remembered(visit, bad):
    with visit(bad, color_scheme="light") as page:
        light = background(page)
        page.get_by_role("button", name="Theme").click()
        page.get_by_role("button", name="Theme: light").click()
        page.goto("/")
        assert page.get_by_role("button", name="Theme: dark").is_visible()
        assert background(page) != light


def test_without_javascript_everything_can_be_read(visit, bad):
    with visit(f"{bad}?severity=critical", java_script_enabled=False) as page:
        assert page.get_by_role("heading", name="NaN or infinite loss").first.is_visible()
        assert page.get_by_role("group", name="Loss over epochs 0 to 7").is_visible()
        assert page.get_by_role("img", name="Health").is_visible()
        assert not page.get_by_role("button", name="Theme").is_visible()


def test_without_javascript_a_diagnosis_can_be_ordered(visit, good):
    with visit(good, java_script_enabled=False) as page:
        page.get_by_role("button", name="Diagnose again").click()
        page.get_by_role("heading", name="calm").wait_for()
        assert page.url.endswith(good)
