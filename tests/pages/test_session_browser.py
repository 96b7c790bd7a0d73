"""A session's page in a real browser, with a run of a real training that went wrong."""

from __future__ import annotations

import sqlite3

import pytest

from observer_client import Observer, ObserverConfig
from tests.pages.chromium import chromium
from tests.pages.test_browser import tab_to, visiting
from tests.processes.machinery import serving, until

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("session-browser")]

FIX = "optimizer.param_groups[0]['lr'] = 0.01  # \"<b>\""
EPOCHS, BLOW_UP = 12, 8


def train(url, folder):
    """Train a small network whose learning rate becomes absurd at epoch 8, under observation."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [layer for _ in range(14) for layer in (torch.nn.Linear(16, 16), torch.nn.ReLU())]
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), *layers, torch.nn.Linear(16, 4))
    inputs, targets = torch.randn(64, 8), torch.randint(0, 4, (64,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    config = ObserverConfig(url=url, directory=str(folder), mode="online", quiet=True, track_profiler=False)
    with Observer(project_id=1, run_name="went wrong", config=config) as observer:
        observer.register_model(model)
        for epoch in range(EPOCHS):
            if epoch == BLOW_UP:
                optimizer.param_groups[0]["lr"] = 50.0
            for step in range(6):
                loss = torch.nn.functional.cross_entropy(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                observer.step(step, loss, batch_size=64)
            observer.flush(val_metrics={"val_loss": loss.item(), "val_acc": 0.1 * epoch / EPOCHS})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of the page. Whatever the engine offers as a fix, each issue has the same one here."""
    home = tmp_path_factory.mktemp("served")
    with serving(home) as (_, url):
        train(url, home / "runs")
        database = sqlite3.connect(home / "mldiag.sqlite3", timeout=20)

        def judged():
            found = "SELECT health_score FROM training_trainsession WHERE epoch_count = ? AND health_score IS NOT NULL"
            return database.execute(found, [EPOCHS]).fetchone()

        until(judged, "the diagnosis")
        with database:
            database.execute("UPDATE diagnostics_foundissue SET fix = ?", [FIX])
        database.close()
        yield url


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser, served):
    """``with visit(query) as page``: the session's page must not complain on its console, whatever is done with it."""
    return lambda query="", **options: visiting(browser, served, f"/sessions/1{query}", **options)


def labels(page):
    return page.locator("#chart .u-legend .u-label").all_text_contents()


def test_a_fix_is_copied(visit):
    with visit(permissions=["clipboard-read", "clipboard-write"]) as page:
        button = page.locator(".actions").get_by_role("button", name="Copy").first
        button.click()
        page.locator(".actions").get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == FIX


def test_hovering_over_the_timeline_tells_and_a_click_opens_the_issue(visit):
    with visit() as page:
        marker = page.locator("#chart .marker").last
        marker.hover()
        assert marker.locator(".marker-label").is_visible()
        assert "Epoch" in marker.locator(".marker-label").inner_text()
        marker.click()
        target = page.locator(f"#{page.url.partition('#')[2]}")
        assert target.evaluate("issue => issue.open && issue.matches(':target')")
        assert target.locator("summary").first.is_visible()


def test_the_timeline_is_on_the_way_of_the_keyboard(visit):
    with visit() as page:
        tab_to(page, "Epoch", limit=60)
        page.keyboard.press("Enter")
        assert "#issue-" in page.url


def test_a_link_to_a_folded_issue_opens_it(visit):
    with visit() as page:
        folded = page.locator("details.issue:not([open])").first
        name = folded.get_attribute("id")
        page.goto(f"{page.url}#{name}")
        page.locator(f"#{name}[open]").wait_for()


def test_the_metric_of_the_layers_is_switched_without_loading_the_page(visit):
    with visit() as page:
        page.evaluate("window.isStillHere = true")
        page.get_by_label("Metric", exact=True).select_option("Sparsity")
        page.get_by_role("columnheader", name="Sparsity, epochs").wait_for()
        assert page.evaluate("window.isStillHere")


def test_layers_are_found_by_name(visit):
    with visit() as page:
        assert page.locator(".strip").count() > 1
        page.get_by_label("Layer name contains").press_sequentially("29")
        page.locator(".strip").nth(1).wait_for(state="detached")
        assert page.locator(".heat tbody th").inner_text().strip() == "29"


def test_pointing_at_a_layer_tells_the_value(visit):
    with visit() as page:
        page.locator(".strip").first.hover()
        told = page.locator(".heat-told")
        assert "epoch" in told.inner_text()
        assert "gradient norm" in told.inner_text()


def test_a_logarithmic_scale_is_kept_in_the_address(visit):
    with visit() as page:
        page.get_by_label("Log scale").check()
        assert "log=1" in page.url
        page.reload()
        page.locator("#chart canvas").wait_for()
        assert page.get_by_label("Log scale").is_checked()


def test_smoothing_adds_a_smooth_curve(visit):
    with visit() as page:
        page.get_by_label("Smoothing").fill("0.6")
        assert labels(page) == ["epoch", "train loss", "val loss", "train loss, smoothed", "val loss, smoothed"]


@pytest.mark.parametrize("axis", ["step", "time"])
def test_curves_are_drawn_over_another_axis(visit, axis):
    with visit() as page:
        page.locator("#chart-form select[name=x]").select_option(axis)
        page.locator(f"#chart .u-legend .u-label >> text={axis}").wait_for()
        assert f"x={axis}" in page.url
        assert page.locator("#chart .marker").count() > 0


def test_a_small_chart_opens_in_the_large_one(visit):
    with visit() as page:
        page.get_by_role("link", name="val_acc").click()
        page.locator("#chart .u-legend .u-label >> text=val_acc").wait_for()
        assert page.get_by_label("Chart").input_value() == "loss.val.val_acc"


def test_dragging_asks_for_that_part_and_back(visit):
    with visit() as page:
        page.locator("#chart").scroll_into_view_if_needed()
        box = page.locator("#chart .u-over").bounding_box()
        with page.expect_response(lambda answer: "low=" in answer.url):
            page.mouse.move(box["x"] + 100, box["y"] + 150)
            page.mouse.down()
            page.mouse.move(box["x"] + 400, box["y"] + 150, steps=4)
            page.mouse.up()
        page.get_by_role("button", name="Show the whole run").click()
        page.get_by_role("button", name="Show the whole run").wait_for(state="detached")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_fits_every_screen(visit, scheme, width):
    with visit(color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("#chart canvas").is_visible()


def test_without_javascript_all_can_be_read(visit):
    with visit(java_script_enabled=False) as page:
        assert page.get_by_role("group", name="Loss over epochs 0 to 11").is_visible()
        assert page.locator(".curve a title").count() > 0
        assert page.locator(".evidence svg").first.is_visible()
        assert page.locator(".heat").get_by_role("rowheader", name="29").is_visible()
        assert FIX in page.locator(".actions code").first.inner_text()
        assert page.get_by_role("button", name="Copy").count() == 0


def test_without_javascript_another_chart_can_be_chosen(visit):
    with visit(java_script_enabled=False) as page:
        page.get_by_label("Chart").select_option("val_acc")
        page.get_by_role("button", name="Draw").click()
        page.get_by_role("group", name="val_acc over epochs").wait_for()


def test_without_javascript_another_metric_can_be_chosen(visit):
    with visit(java_script_enabled=False) as page:
        page.get_by_label("Metric", exact=True).select_option("Sparsity")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("columnheader", name="Sparsity, epochs").wait_for()


def test_prints_light_and_without_buttons(visit):
    with visit(color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        assert not page.get_by_role("button", name="Diagnose again").is_visible()
