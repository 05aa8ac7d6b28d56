"""The pages in a real browser: they load without an error, the light curve has its points, the cutouts their pixels."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from fink_broker.history import History
from fink_broker.services import process
from fink_broker.settings import Settings
from tests.conftest import missing
from tests.integration.conftest import Filled

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.integration
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def url(settings: Settings, filled: Filled) -> Iterator[str]:
    """A gateway as a process of its own."""
    port = process.free_port()
    line = [sys.executable, "-m", "fink_broker", "--home", str(settings.home), "serve", "--port", str(port)]
    server = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if process.answers(port):
            break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        missing("no Chromium; install it: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser.new_page()
        browser.close()


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    page.goto("about:blank")  # pictures of the page before that were still being loaded fail before anyone listens
    found: list[str] = []

    def note(message: object) -> None:
        found.append(str(message))

    page.on("pageerror", note)
    page.on("requestfailed", note)
    yield found
    page.remove_listener("pageerror", note)
    page.remove_listener("requestfailed", note)


def find(settings: Settings, filled: Filled, survey: str) -> tuple[str, int]:
    for packet in reversed(filled.packets[survey]):
        curve = History(settings).lightcurve(survey, packet.object_id) if packet.object_id else {"kind": []}
        if curve["kind"].count("detection") > 4:
            return packet.object_id, curve["kind"].count("detection")
    raise AssertionError("no object with a history")


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_the_page_of_an_object(settings: Settings, filled: Filled, url: str, page: Page, errors: list[str], survey: str) -> None:
    name, detections = find(settings, filled, survey)
    page.goto(f"{url}/?q={name}")
    page.wait_for_load_state("networkidle")
    assert page.url == f"{url}/object/{survey}/{name}"
    assert page.inner_text("h1") == name
    page.click("#show-flux")
    points = page.locator("#lightcurve g[data-kind='detection']")
    assert points.count() == detections
    assert page.locator("#lightcurve .detection line.error").count() >= detections - 1
    images = page.locator("#cutouts img").all()
    assert len(images) == 3
    for image in images:
        assert image.evaluate("img => img.naturalWidth") > 20
    assert page.locator(".module").count() >= 4
    page.locator("#legend input").first.uncheck()
    assert points.count() < detections
    page.locator("#legend input").first.check()
    points.last.hover(force=True)
    assert "nJy · MJD" in page.inner_text("#readout")
    page.click("#show-mag")
    assert "magnitude [AB]" in page.inner_text("#lightcurve")
    assert not errors


def test_the_cutouts_of_an_earlier_alert(settings: Settings, filled: Filled, url: str, page: Page, errors: list[str]) -> None:
    """Chosen in the list or by a click on its point."""
    names = [packet.object_id for packet in filled.packets["ztf"]]
    name = max(names, key=names.count)
    page.goto(f"{url}/object/ztf/{name}")
    page.wait_for_load_state("networkidle")
    number = page.locator("#epoch option").count()
    assert number == names.count(name) > 1
    first = page.locator("#cutouts img").first
    before = first.get_attribute("src")
    with page.expect_response(lambda answer: "kind=difference" in answer.url) as answered:
        page.select_option("#epoch", index=number - 1)
    assert answered.value.status == 200
    assert first.get_attribute("src") != before
    page.wait_for_function("document.querySelector('#cutouts img').complete && document.querySelector('#cutouts img').naturalWidth > 20")
    page.select_option("#colormap", "heat")
    assert "heat" in str(first.get_attribute("src"))
    assert page.locator("#lightcurve line.chosen").count() == 1
    page.click("#show-flux")
    page.locator("#lightcurve g[data-kind='detection']").last.dispatch_event("click")
    assert page.evaluate("document.getElementById('epoch').selectedIndex") == 0
    assert not errors


def test_a_part_of_the_light_curve(settings: Settings, filled: Filled, url: str, page: Page, errors: list[str]) -> None:
    name, _ = find(settings, filled, "ztf")
    page.goto(f"{url}/object/ztf/{name}")
    box = page.locator("#lightcurve svg").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 120, steps=4)
    page.mouse.up()
    assert page.is_visible("#whole")
    page.click("#whole")
    assert not page.is_visible("#whole")
    assert not errors


def test_search_topics_and_status(settings: Settings, url: str, page: Page, errors: list[str]) -> None:
    page.goto(url)
    assert "fink_pure_ztf" in page.inner_text("main")
    page.click("a[href='/topic/fink_pure_ztf']")
    page.locator("td a").first.click()
    assert "/object/ztf/" in page.url
    page.click("text=objects within 1′")
    assert page.locator("td a").count() >= 1
    page.goto(f"{url}/status")
    assert "live" in page.inner_text("main")
    page.goto(f"{url}/docs")
    assert "/api/v1/conesearch" in page.inner_text("main")
    form = page.locator("form.call[action='/api/v1/latests']")
    page.locator("[id='call-latests'] summary").click()
    form.locator("[name=topic]").fill("fink_pure_ztf")
    with page.context.expect_page() as opened:
        form.locator("button").click()
    opened.value.wait_for_load_state()
    assert opened.value.url == f"{url}/api/v1/latests?topic=fink_pure_ztf"
    assert '"ztf"' in opened.value.inner_text("body")
    opened.value.close()
    page.goto(f"{url}/?q=nothing-of-that-name")
    assert "Not found" in page.inner_text("main")
    assert not errors


def test_each_page_has_a_json_twin(settings: Settings, filled: Filled, url: str) -> None:
    name, _ = find(settings, filled, "ztf")
    found = httpx.get(f"{url}/object/ztf/{name}.json").json()
    assert found["object_id"] == name
    assert found["curve"]["mjd"]
    for path in ("index", "topics", "status", "topic/fink_pure_ztf"):
        assert httpx.get(f"{url}/{path}.json", timeout=30).json()


def test_nothing_is_loaded_from_elsewhere(url: str) -> None:
    answer = httpx.get(url)
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "//" not in answer.text.replace("http://127.0.0.1", "").replace("<!doctype", "")
