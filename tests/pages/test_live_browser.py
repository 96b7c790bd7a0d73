"""Pages that follow along, and tables that are worked with, in a real browser on a real server."""

from __future__ import annotations

import pytest
import requests

from observer_client.record import to_json
from tests.pages.chromium import chromium
from tests.pages.rows import epoch
from tests.pages.test_browser import send, tab_to, train, visiting
from tests.processes.machinery import serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("live-browser")]

KEYS = [f"0f6a3f0c-6a34-4a6c-8a0e-0f8a5f1c2c{number:02}" for number in range(10)]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as (_, address):
        yield address


@pytest.fixture(scope="module")
def pair(url):
    """Two finished sessions, of which the first went wrong."""
    bad = train(url, KEYS[0], "too hot", [2.3, 1.2, 0.8, 9.0, float("nan")])
    return bad, train(url, KEYS[1], "calm", [2.3 * 0.8**number + 0.1 for number in range(12)])


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, url):
    return lambda path, **options: visiting(browser, url, path, **options)


def begin(url, key, name):
    return f"/sessions/{send(url, 'PUT', f'/sessions/{key}', {'key': key, 'run_name': name})['id']}"


def report(url, key, number, loss):
    answer = requests.post(
        f"{url}/api/sessions/{key}/epochs",
        data=b"[" + epoch(number, loss, loss) + b"]",
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    answer.raise_for_status()
    assert answer.json()["results"][0]["status"] == "stored", to_json(answer.json())


def test_an_alert_arrives_in_an_open_page(url, visit):
    path = begin(url, KEYS[2], "overnight")
    for number, loss in enumerate((2.0, 1.5)):
        report(url, KEYS[2], number, loss)
    with visit(path) as page:
        page.get_by_text("Live", exact=True).wait_for()
        page.evaluate("window.isStillHere = true")
        report(url, KEYS[2], 2, float("nan"))
        alerts = page.get_by_role("region", name="While you are here")
        alerts.get_by_role("link", name="NaN or infinite loss").wait_for()
        page.locator("#headline ~ p").filter(has_text="3 epochs").wait_for()
        page.locator("#issues").get_by_role("heading", name="NaN or infinite loss").first.wait_for()
        assert page.evaluate("window.isStillHere")
        alerts.get_by_role("button", name="Dismiss").first.click()
        assert alerts.get_by_role("link", name="NaN or infinite loss").count() == 0


def test_a_project_follows_its_sessions(url, visit, pair):
    with visit("/projects/1") as page:
        page.get_by_text("Live", exact=True).wait_for()
        begin(url, KEYS[3], "just begun")
        page.get_by_role("rowheader", name="just begun").wait_for()
        report(url, KEYS[3], 0, float("nan"))
        page.get_by_role("region", name="While you are here").get_by_role("link", name="NaN").first.wait_for()


def test_without_a_socket_the_page_asks(url, browser):
    path = begin(url, KEYS[4], "behind a proxy")
    report(url, KEYS[4], 0, 2.0)
    context = browser.new_context(base_url=url)
    context.add_init_script("window.WebSocket = class { constructor() { throw new Error('blocked'); } };")
    page = context.new_page()
    page.goto(path)
    page.get_by_text("Looking every 5 s").wait_for()
    report(url, KEYS[4], 1, float("nan"))
    page.get_by_role("region", name="While you are here").get_by_role("link", name="NaN").first.wait_for()
    context.close()


def test_ticked_sessions_are_compared_by_keyboard(visit, pair):
    with visit("/projects/1?columns=name,score,hp.lr") as page:
        for name in ("too hot", "calm"):
            page.get_by_role("checkbox", name=f"Tick {name}").focus()
            page.keyboard.press("Space")
        tab_to(page, "Compare")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Compare 2 sessions").wait_for()
        page.locator("#chart canvas").wait_for()


def test_without_javascript_they_are_compared_too(visit, pair):
    with visit("/projects/1", java_script_enabled=False) as page:
        for name in ("too hot", "calm"):
            page.get_by_role("checkbox", name=f"Tick {name}").check()
        page.get_by_role("button", name="Compare").click()
        assert page.get_by_role("heading", name="Compare 2 sessions").is_visible()
        assert page.get_by_role("group", name="over epochs").is_visible()


def test_a_column_is_chosen_and_sorted_by(visit, pair):
    with visit("/projects/1") as page:
        page.get_by_text("Columns", exact=True).click()
        page.get_by_role("checkbox", name="lr hyperparameter").check()
        page.get_by_role("button", name="Show these columns").click()
        page.get_by_role("columnheader", name="lr").get_by_role("link").click()
        page.get_by_role("columnheader", name="lr").wait_for()
        assert "sort=-hp.lr" in page.url
        assert "columns=" in page.url


def test_deleting_asks_first(url, visit):
    train(url, KEYS[5], "a mistake", [1.0, 0.9])
    with visit("/projects/1?q=mistake") as page:
        page.get_by_role("checkbox", name="Tick all on this page").check()
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("heading", name="Delete 1 session?").wait_for()
        page.get_by_role("button", name="Delete for good").click()
        page.get_by_text("1 session deleted.").wait_for()
        page.get_by_text("No session matches.").wait_for()


PAGES = ["/compare?sessions=1,2", "/compare?sessions=1", "/projects/1/access", "/projects/1?columns=name,hp.lr,energy"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_complains_or_scrolls_sideways(visit, pair, path, width):
    with visit(path, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("h1").count() == 1
