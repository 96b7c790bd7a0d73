"""Alerts in a real browser on a server that asks for a login: seen and unseen, missed, many at once, and whose."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from uuid import uuid4

import pytest
import requests

from tests.pages.chromium import chromium
from tests.pages.rows import epoch
from tests.pages.test_browser import PATIENCE, tab_to
from tests.processes.machinery import REPOSITORY, environment, serving

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("alerts-browser")]

NAN = float("nan")
PEOPLE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
from django.test import Client
from projects.models import KeyKind, Membership, Project, Role
from projects.services import issue_key
project = Project.objects.get(pk=1)
for name in ("alice", "charlie"):
    user, client = get_user_model().objects.create(username=name), Client()
    if name == "alice":
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
    client.force_login(user)
    print(client.cookies["mldiag_session"].value)
print(issue_key(project, KeyKind.FULL)[1])
"""
WATCHED = """
window.notifications = [];
window.asked = 0;
window.Notification = class extends Notification {
    constructor(title, options) {
        super(title, options);
        window.notifications.push(title);
    }
    static get permission() {
        return this.answer ?? super.permission;
    }
    static requestPermission() {
        window.asked += 1;
        this.answer = "granted";
        return Promise.resolve("granted");
    }
};
window.goAway = (isAway) => {
    Object.defineProperty(document, "hidden", { value: isAway, configurable: true });
    document.hasFocus = () => !isAway;
    document.dispatchEvent(new Event("visibilitychange"));
};
"""
UNDECIDED = "Notification.answer = 'default'"
CLOSED = "path => new Promise((done) => { new WebSocket(path).onclose = (event) => done(event.code); })"


class Place:
    """A server, its sessions, and who is known there."""

    def __init__(self, url, cookies, key):
        self.url, self.cookies = url, cookies
        self._http = requests.Session()
        self._http.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def begin(self, name, first=1.0):
        """Open a session, with one epoch unless ``first`` is None; return its page and what reports the next ones."""
        address, losses = f"{self.url}/api/sessions/{uuid4()}", []
        opened = self._http.put(address, json={"run_name": name}, timeout=60).json()

        def report(loss):
            body = b"[" + epoch(len(losses), loss, loss) + b"]"
            losses.append(loss)
            self._http.post(f"{address}/epochs", data=body, timeout=60).raise_for_status()

        if first is not None:
            report(first)
        return f"/sessions/{opened['id']}", report


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = tmp_path_factory.mktemp("alerts")
    variables = environment(home, MLDIAG_AUTH="required", DJANGO_SETTINGS_MODULE="mldiag.settings")
    command = [sys.executable, "-c", PEOPLE]
    said = subprocess.run(command, cwd=REPOSITORY, env=variables, check=True, capture_output=True, text=True).stdout
    alice, charlie, key = said.split()
    with serving(home, MLDIAG_AUTH="required") as (_, url):
        yield Place(url, {"alice": alice, "charlie": charlie}, key)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, place):
    """``with visit(path) as page``: a page that follows along, as Alice sees it."""

    @contextmanager
    def visiting(path, permissions=(), prepare=lambda page: None, **options):
        context = browser.new_context(base_url=place.url, permissions=list(permissions), **options)
        context.set_default_timeout(PATIENCE)
        context.add_cookies([{"name": "mldiag_session", "value": place.cookies["alice"], "url": place.url}])
        context.add_init_script(WATCHED)
        page = context.new_page()
        prepare(page)
        page.goto(path)
        page.get_by_text("Live", exact=True).wait_for()
        yield page
        context.close()

    return visiting


def alerts(page):
    return page.get_by_role("region", name="While you are here")


def wait_for_alert(page, name):
    alerts(page).get_by_role("listitem").filter(has_text=name).first.wait_for()


def test_the_title_counts_what_nobody_has_seen_yet(place, visit):
    with visit("/projects/1") as page:
        title = page.title()
        page.evaluate("goAway(true)")
        for number in range(2):
            place.begin(f"unseen {number}")[1](NAN)
            wait_for_alert(page, f"unseen {number}")
        page.wait_for_function("() => document.title.startsWith('(2) ')")
        page.evaluate("goAway(false)")
        assert page.title() == title


def test_the_title_counts_nothing_under_the_readers_eyes(place, visit):
    with visit("/projects/1") as page:
        title = page.title()
        place.begin("seen")[1](NAN)
        wait_for_alert(page, "seen")
        assert page.title() == title


def test_a_critical_alert_notifies_who_allowed_it_and_is_away(place, visit):
    path, report = place.begin("overnight")
    with visit(path, permissions=["notifications"]) as page:
        page.evaluate("goAway(true)")
        report(NAN)
        page.wait_for_function("() => notifications.length > 0")
        assert page.evaluate("notifications") == ["NaN or infinite loss"]


@pytest.mark.parametrize(
    ("permissions", "is_away"),
    [
        pytest.param(["notifications"], False, id="who is here"),
        pytest.param([], True, id="who never allowed it"),
    ],
)
def test_nobody_else_is_notified(place, visit, permissions, is_away):
    path, report = place.begin("quiet")
    with visit(path, permissions=permissions) as page:
        page.evaluate("goAway", is_away)
        report(NAN)
        wait_for_alert(page, "NaN")
        assert page.evaluate("notifications") == []


def test_a_warning_notifies_nobody(place, visit):
    path, report = place.begin("overfits")
    with visit(path, permissions=["notifications"]) as page:
        page.evaluate("goAway(true)")
        page.evaluate(
            """async () => {
                const { show } = await import("/static/mldiag/alerts.js");
                const session = { id: 1, name: "overfits", url: "/sessions/1" };
                show([{ seq: 10 ** 9, session, severity: "warning", check_id: "overfitting", title: "Overfitting" }]);
            }"""
        )
        wait_for_alert(page, "Overfitting")
        assert page.evaluate("[notifications.length, document.title.startsWith('(1) ')]") == [0, True]


def test_permission_is_asked_for_by_a_click_only(place, visit):
    path, report = place.begin("asks")
    with visit(path, prepare=lambda page: page.add_init_script(UNDECIDED)) as page:
        report(NAN)
        wait_for_alert(page, "NaN")
        assert page.evaluate("asked") == 0
        page.get_by_role("button", name="Notify me of critical issues").click()
        page.get_by_role("button", name="Notifications are on").wait_for()
        assert page.evaluate("asked") == 1


def test_who_refused_is_not_asked_again(place, visit):
    path, _ = place.begin("refused")
    with visit(path, prepare=lambda page: page.add_init_script("Notification.answer = 'denied'")) as page:
        assert page.get_by_role("button", name="Notify me").count() == 0


def test_a_reconnect_brings_what_was_missed(place, visit):
    path, report = place.begin("flaky network")
    sockets, addresses = [], []

    def between(socket):
        addresses.append(socket.url)
        sockets.append((socket, socket.connect_to_server()))

    with visit(path, prepare=lambda page: page.route_web_socket("**/ws/**", between)) as page:
        socket, server = sockets[0]
        server.close()
        socket.close(code=1012)
        page.get_by_text("Reconnecting…").wait_for()
        report(NAN)
        wait_for_alert(page, "NaN")
        assert len(addresses) == 2
        assert "after=" in addresses[1]
        assert alerts(page).get_by_role("listitem").count() == 1


@pytest.mark.parametrize("who", ["charlie", "nobody"])
def test_the_socket_of_anothers_session_is_refused(browser, place, who):
    path, _ = place.begin("private")
    context = browser.new_context(base_url=place.url)
    if who in place.cookies:
        context.add_cookies([{"name": "mldiag_session", "value": place.cookies[who], "url": place.url}])
    page = context.new_page()
    page.goto("/accounts/login")
    assert page.evaluate(CLOSED, f"/ws{path}") == page.evaluate(CLOSED, "/ws/sessions/999999") == 4404
    context.close()


def test_the_keyboard_reaches_alerts_and_dismisses_them(place, visit):
    with visit("/projects/1") as page:
        for name in ("first", "second"):
            place.begin(name)[1](NAN)
            wait_for_alert(page, name)
        tab_to(page, "NaN or infinite loss")
        tab_to(page, "Dismiss", limit=1)
        page.keyboard.press("Enter")
        alerts(page).get_by_role("listitem").filter(has_text="second").wait_for(state="detached")
        # The focus is on the next one, not lost.
        page.keyboard.press("Enter")
        alerts(page).wait_for(state="hidden")
        assert page.evaluate("document.activeElement.id") == "main"


def test_enter_on_an_alert_leads_to_its_session(place, visit):
    path, report = place.begin("linked")
    with visit("/projects/1") as page:
        report(NAN)
        wait_for_alert(page, "linked")
        tab_to(page, "NaN or infinite loss")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{path}")


BURST = 24


def test_a_burst_stays_readable(place, visit):
    with visit("/projects/1", permissions=["notifications"]) as page:
        page.evaluate("goAway(true)")
        for number in range(BURST):
            place.begin(f"burst {number:02}", NAN)
        for number in range(BURST):
            wait_for_alert(page, f"burst {number:02}")
        assert alerts(page).get_by_role("listitem").count() == BURST
        assert alerts(page).get_by_text(f"{BURST} alerts").is_visible()
        assert page.title().startswith(f"({BURST}) ")
        # Each notification takes the place of the one before: the last one says how many there are.
        assert page.evaluate("notifications.at(-1)") == f"{BURST} critical alerts"
        for width in (375, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            # What is below stays in reach, and nothing runs out of the page.
            assert alerts(page).bounding_box()["height"] < 400
            assert page.evaluate("document.documentElement.scrollWidth") == width
        alerts(page).get_by_role("button", name="Dismiss all").click()
        alerts(page).wait_for(state="hidden")


def test_who_opens_a_page_is_told_nothing_old(place, visit):
    path, report = place.begin("long ago", NAN)
    with visit("/projects/1") as page:
        place.begin("just now", NAN)
        wait_for_alert(page, "just now")
        assert alerts(page).get_by_role("listitem").count() == 1


def test_alerts_outlast_a_page_that_loads_itself_again(place, visit):
    path, report = place.begin("no chart yet", None)
    with visit(path) as page:
        page.evaluate("window.isFirst = true")
        report(NAN)
        page.wait_for_function("() => !window.isFirst && document.getElementById('chart')")
        wait_for_alert(page, "NaN")
