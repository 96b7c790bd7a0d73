"""Every page in a real browser: nobody is kept out, nothing complains, and no text of a run becomes markup."""

from __future__ import annotations

import pytest

import diagnostics.problem_urls
import diagnostics.urls
import projects.urls
import sessions.urls
from tests.pages.chromium import chromium
from tests.pages.hostile import make_hostile
from tests.pages.people import PASSWORD, PERSON, make_person
from tests.pages.rows import MARKUP
from tests.processes.machinery import REPOSITORY, serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("every-page")]

AXE = REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE = 30_000
"""Milliseconds; only a failing test waits so long."""

SHOWING = {
    # Pages that have a text of a run to show, by the name of their route.
    "home": ["/"],
    "project": ["/projects/{project}", "/projects/{project}?columns=name,score,hp.learning_rate&sort=-score"],
    "access": ["/projects/{project}/access"],
    "policy": ["/projects/{project}/policy"],
    "project_problems": ["/projects/{project}/problems?status=all"],
    "problems": ["/problems?status=all"],
    "problem": ["/problems/{problem}"],
    "session": ["/sessions/{bad}", "/sessions/{good}", "/sessions/{running}"],
    "layers": ["/sessions/{bad}/layers"],
    "logs": ["/sessions/{bad}/logs"],
    "run": ["/runs/{run}"],
    "compare": ["/compare?sessions={bad},{good},{running}", "/compare?sessions={bad}"],
}
OTHERS = {
    "project of its own": ["/projects/{empty}", "/projects/{empty}/problems", "/projects/{project}?q=nothing"],
    "account": ["/accounts/me", "/accounts/password", "/accounts/password/done"],
    "checks": ["/checks"],
    "check": ["/checks/loss-explosion"],
    "thresholds": ["/thresholds"],
    "api-docs": ["/api/docs"],
    "not there": ["/sessions/999999"],
}
ADMIN = [
    "",
    "auth/user/",
    "auth/user/1/change/",
    "auth/group/add/",
    "projects/project/",
    "projects/project/{project}/change/",
    "projects/baseline/add/",
]
ADMIN += ["diagnostics/problem/", "diagnostics/problem/{problem}/change/", "diagnostics/foundissue/?severity=critical"]
ADMIN += ["diagnostics/diagnosticrun/{run}/change/", "training/trainsession/", "training/trainsession/{bad}/change/"]
NO_PAGES = {"series", "compare-series", "session-news", "project-news", "progress"} | {
    # Orders, which answer with the page they came from.
    *("order", "pin", "baseline", "change_sessions", "problem_actions", "forget_search", "save_search"),
    "problem_settings",
}
SHOWING_TEXT = [place for places in SHOWING.values() for place in places]
PLACES = [place for places in (SHOWING | OTHERS).values() for place in places]
INJECTED = "[...document.querySelectorAll('img[onerror], [src=x]')].map(each => each.outerHTML)"
UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
LOOK = """async () => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations
        .filter((each) => each.impact === "serious" || each.impact === "critical")
        .map(({ id, nodes }) => `${id} (${nodes.length}): ${nodes[0].target} ${nodes[0].html.slice(0, 300)}`);
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Addresses by what they show, and the server's own."""
    home = tmp_path_factory.mktemp("served")
    with serving(home) as (_, url):
        make_person(home)
        yield {"url": url, **make_hostile(url)}


@pytest.fixture(scope="module")
def signed_in(served):
    """A browser in which Alice has signed in."""
    with chromium() as browser:
        context = browser.new_context(base_url=served["url"])
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto("/accounts/login")
        page.get_by_label("Username").fill(PERSON)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()
        page.close()
        yield context


@pytest.fixture
def visit(signed_in, served):
    """``visit(place)`` opens a page with everything unfolded; it may neither complain nor run what a run has said."""
    pages, complaints = [], []

    def listen(message):
        # What has no address is axe itself: it tries styles that the policy of the pages forbids.
        if message.type == "error" and message.location["url"]:
            complaints.append(message.text)

    def visiting(place, **media):
        page = signed_in.new_page()
        pages.append(page)
        page.emulate_media(**media)
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"executed: {dialog.message}"))
        page.goto(place.format(**served), wait_until="load")
        page.evaluate(UNFOLD)
        return page

    yield visiting
    for page in pages:
        page.close()
    # The browser itself says so of a page that is not there.
    assert [each for each in complaints if "status of 404" not in each] == []


def violations(page):
    page.evaluate(AXE.read_text())
    return page.evaluate(LOOK)


def routes():
    modules = (sessions.urls, diagnostics.urls, projects.urls, diagnostics.problem_urls)
    return {pattern.name for module in modules for pattern in module.urlpatterns}


def test_every_page_is_here():
    assert routes() - NO_PAGES == (SHOWING | OTHERS).keys() - {"project of its own", "not there"}


@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_kept_out(visit, place):
    page = visit(place, color_scheme="light")
    light = violations(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 375, "height": 800})
    assert (light, violations(page)) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("place", PLACES)
def test_without_javascript_it_can_be_read(signed_in, served, place):
    plain = signed_in.browser.new_context(
        base_url=served["url"], java_script_enabled=False, storage_state=signed_in.storage_state()
    )
    page = plain.new_page()
    page.goto(place.format(**served), wait_until="load")
    said = page.get_by_role("heading", level=1).is_visible(), page.locator("main").inner_text()
    plain.close()
    assert said[0]
    assert place not in SHOWING_TEXT or MARKUP in said[1]


@pytest.mark.parametrize("place", ADMIN)
def test_staff_are_not_kept_out(visit, place):
    page = visit(f"/admin/{place}", color_scheme="light")
    light = violations(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 375, "height": 800})
    assert (light, violations(page)) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate(INJECTED) == []


def test_nobody_is_kept_out_of_signing_in(signed_in, served):
    stranger = signed_in.browser.new_page(base_url=served["url"])
    stranger.goto("/accounts/login")
    found = violations(stranger)
    stranger.close()
    assert found == []


@pytest.mark.parametrize("place", SHOWING_TEXT)
def test_markup_is_shown_as_text(visit, place):
    page = visit(place)
    page.wait_for_load_state("networkidle")
    assert MARKUP in page.locator("main").inner_text()
    assert page.evaluate(INJECTED) == []
