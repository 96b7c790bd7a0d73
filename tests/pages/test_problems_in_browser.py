"""Triage as a person does it: a real browser, a real server, runs sent over HTTP and judged by the engine."""

from __future__ import annotations

import json
import math
from uuid import uuid4

import pytest
import requests

from tests.pages.chromium import chromium
from tests.pages.rows import epoch
from tests.processes.machinery import serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("problems-browser")]

GOOD = [2.3 * 0.8**number + 0.1 for number in range(12)]
BAD = [2.3, 1.2, 0.8, 0.7, 9.0, 30.0, math.nan, math.nan]
LIST = "/projects/1/problems"
FOCUSED = "document.activeElement.matches('a, button, input, select') ? document.activeElement.outerHTML : ''"


def send(url, method, path, body, **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | headers
    answer = requests.request(method, f"{url}/api{path}", data=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()


def train(url, name, losses):
    """Report a run as a client does, and wait for its diagnosis."""
    key = uuid4()
    send(url, "PUT", f"/sessions/{key}", {"run_name": name})
    epochs = b",".join(epoch(number, loss, loss * 1.1) for number, loss in enumerate(losses))
    send(url, "POST", f"/sessions/{key}/epochs", b"[" + epochs + b"]")
    send(url, "POST", f"/sessions/{key}/finish", {"status": "finished"}, Prefer="wait=30")


def problem(url, check="nan-in-loss"):
    return send(url, "GET", f"/problems?check={check}", b"")["results"][0]


def change(url, **fields):
    send(url, "PATCH", f"/problems/{problem(url)['id']}", fields)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as (_, address):
        train(address, "calm", GOOD)
        train(address, "too hot", BAD)
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, url):
    """``visit(path)`` opens a page; at the end of the test none of them may have complained on its console."""
    contexts, complaints = [], []

    def visiting(path, **options):
        context = browser.new_context(base_url=url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path, wait_until="networkidle")
        return page

    yield visiting
    for context in contexts:
        context.close()
    assert complaints == []


def standing(page):
    return page.locator("h1 + .standing").inner_text()


def tab_to(page, text):
    for _ in range(80):
        page.keyboard.press("Tab")
        if text in page.evaluate(FOCUSED):
            return
    raise AssertionError(f"no way to {text!r} by keyboard")


def test_resolved_and_back_with_the_next_session(visit, url):
    page = visit("/problems")
    page.get_by_role("link", name="NaN or infinite loss").first.click()
    assert standing(page) == "new"
    page.get_by_role("button", name="Resolve", exact=True).click()
    assert standing(page) == "resolved"
    train(url, "calm again", GOOD)
    page.reload()
    assert standing(page) == "resolved"
    train(url, "too hot again", BAD)
    page.reload()
    assert standing(page) == "regressed"
    assert "in 2 of the last 4" in page.locator(".lead").inner_text()
    assert page.locator(".strip .cell-clean").count() == 2
    page.goto("/problems")
    assert page.locator("tr", has_text="nan-in-loss").locator(".standing").inner_text() == "regressed"


def test_muted_for_a_session_and_heard_again(visit, url):
    page = visit(f"/problems/{problem(url)['id']}")
    page.get_by_text("Mute…").click()
    page.get_by_label("For so many sessions").fill("1")
    page.get_by_role("button", name="Mute", exact=True).click()
    assert standing(page) == "muted"
    train(url, "too hot while muted", BAD)
    page.reload()
    assert standing(page) == "muted"
    train(url, "too hot after", BAD)
    page.reload()
    assert standing(page) == "regressed"


def test_bulk_by_keyboard_alone(visit, url):
    change(url, status="open")
    page = visit(f"{LIST}?check=nan-in-loss")
    tab_to(page, "select-all")
    page.keyboard.press("Space")
    tab_to(page, 'id="action"')
    page.keyboard.type("Mute for good")
    tab_to(page, "Apply")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "1 problem muted" in page.get_by_role("status").inner_text()
    assert problem(url)["status"] == "muted"


def test_bulk_without_javascript(visit, url):
    change(url, status="open")
    page = visit(f"{LIST}?check=nan-in-loss", java_script_enabled=False)
    assert not page.locator("#select-all").is_visible()
    page.get_by_role("checkbox", name="Select NaN or infinite loss").check()
    page.get_by_label("With the selected").select_option("Resolve")
    page.get_by_role("button", name="Apply").click()
    assert problem(url)["status"] == "resolved"


def test_comment_is_added(visit, url):
    page = visit(f"/problems/{problem(url)['id']}")
    page.get_by_label("Comment").fill("The learning rate was 0.5.")
    page.get_by_role("button", name="Comment").click()
    assert page.locator(".activity .comment").first.inner_text() == "The learning rate was 0.5."


def test_what_was_filtered_can_be_saved_as_a_search(visit):
    page = visit(f"{LIST}?status=all")
    page.get_by_role("searchbox").press_sequentially("nan-in-loss")
    page.wait_for_url("**q=nan-in-loss**")
    page.locator(".problems tbody tr").nth(1).wait_for(state="detached")
    page.locator("#select-all").wait_for()
    page.get_by_text("Saved searches").click()
    page.get_by_label("Save this search as").fill("Diverged")
    page.get_by_role("button", name="Save", exact=True).first.click()
    assert "The search “Diverged” is saved." in page.get_by_role("status").inner_text()
    page.goto(LIST)
    page.get_by_role("link", name="Diverged").click()
    assert "q=nan-in-loss" in page.url


def test_latest_finding_leads_to_the_issue(visit, url):
    page = visit(f"/problems/{problem(url)['id']}")
    page.locator(".latest a").click()
    page.wait_for_load_state()
    target = page.url.rpartition("#")[2]
    assert page.locator(f"#{target} h4").inner_text() == "NaN or infinite loss"


@pytest.mark.parametrize("path", ["/problems?status=all", f"{LIST}?status=all", "{problem}"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_do_not_scroll_sideways(visit, url, path, scheme):
    path = path.format(problem=f"/problems/{problem(url)['id']}")
    page = visit(path, viewport={"width": 375, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator("h1").count() == 1
