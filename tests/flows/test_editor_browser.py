"""The editor in Chromium, against the served program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.web import Web, web

pytestmark = pytest.mark.browser
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with web(tmp_path_factory.mktemp("web")) as site:
        yield site


@pytest.fixture(scope="module")
def engine(chromium: str | None) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def enter(engine: Browser, served: Web, **options: Any) -> Page:
    """A page signed in as author, which fails the test when the browser complains about anything."""
    page = engine.new_context(viewport={"width": 1300, "height": 860}, **options).new_page()
    complaints = list[str]()
    page.complaints = complaints  # type: ignore[attr-defined]  # it travels with the page
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if "Content Security Policy" in m.text else None)
    page.goto(f"{served.url}/login")
    page.fill("input[name=username]", "author")
    page.fill(
        "input[name=password]",
        served.info["sign_in"]["password"] if isinstance(served.info["sign_in"], dict) else served.info["sign_in"],
    )
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.url}/")
    return page


def new_flow(page: Page, served: Web, slug: str) -> None:
    page.goto(f"{served.url}/flows/new")
    page.fill("#slug", slug)
    page.fill("#folder", "demo")
    page.click("text=Create the draft")
    page.wait_for_url(f"{served.url}/flows/{slug}/edit")
    expect(page.locator("#line-count")).to_be_visible()


def write(page: Page, text: str) -> None:
    page.click(".cm-content")
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(text)


def test_writing_shows_problems_and_graph_and_saves_with_a_key(engine: Browser, served: Web) -> None:
    page = enter(engine, served)
    new_flow(page, served, "typed")
    expect(page.locator("#graph g.node")).to_have_count(1)
    write(page, "  - id: second\n    nonsense: 1\n")
    expect(page.locator("#problems li[data-tone=fail]", has_text="nonsense")).to_be_visible()
    expect(page.locator("#graph g.node")).to_have_count(2)
    expect(page.locator("#release-button")).to_have_attribute("aria-disabled", "true")
    page.locator("#problems a").first.click()
    expect(page.locator(".cm-activeLine")).to_contain_text("second")
    page.keyboard.press("Control+s")
    expect(page.locator("#save-state")).to_have_text("Saved")
    expect(page.locator("#revision-shown")).to_have_text("2")
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("nonsense")
    assert page.complaints == []  # type: ignore[attr-defined]


def test_two_people_saving_lose_nothing(engine: Browser, served: Web) -> None:
    first, second = enter(engine, served), enter(engine, served)
    new_flow(first, served, "shared")
    second.goto(f"{served.url}/flows/shared/edit")
    write(first, "# from the first\n")
    first.keyboard.press("Control+s")
    expect(first.locator("#save-state")).to_have_text("Saved")
    write(second, "# from the second\n")
    second.keyboard.press("Control+s")
    expect(second.locator("#conflict")).to_be_visible()
    expect(second.locator("#conf-text")).to_contain_text("author saved revision 2")
    expect(second.locator("#conf-diff ins")).to_contain_text("from the second")
    expect(second.locator("#conf-diff del")).to_contain_text("from the first")
    second.click("#conf-mine")
    expect(second.locator("#save-state")).to_have_text("Saved")
    expect(second.locator("#revision-shown")).to_have_text("3")
    assert first.complaints == second.complaints == []  # type: ignore[attr-defined]


def test_a_release_is_made_of_what_is_on_the_screen(engine: Browser, served: Web) -> None:
    page = enter(engine, served)
    new_flow(page, served, "released")
    write(page, "# not saved yet\n")
    page.click("a[href='#release']")
    page.fill("#notes", "From the browser.")
    page.click("#release-button")
    page.wait_for_url(f"{served.url}/flows/released")
    expect(page.locator("h1")).to_have_text("released")
    expect(page.locator(".page-head")).to_contain_text("Live v1.0.0")
    assert page.complaints == []  # type: ignore[attr-defined]


def test_keys_of_the_language_are_offered(engine: Browser, served: Web) -> None:
    page = enter(engine, served)
    new_flow(page, served, "offered")
    write(page, "  - id: web\n    http:\n      meth")
    expect(page.locator(".cm-tooltip-autocomplete li").first).to_contain_text("method")
    page.keyboard.press("Escape")
    write(page, 'od: POST\n      json: {x: "${{ steps.re')
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("steps.rest.output")


def test_without_a_script_the_editor_is_a_form(engine: Browser, served: Web) -> None:
    page = enter(engine, served, java_script_enabled=False)
    page.goto(f"{served.url}/flows/new")
    page.fill("#slug", "plain")
    page.fill("#folder", "demo")
    page.click("text=Create the draft")
    page.fill("#source", page.input_value("#source") + "# plain\n")
    page.click("#save")
    assert page.input_value("#source").endswith("# plain\n")
    expect(page.locator("#revision-shown")).to_have_text("2")
    page.click("#release-button")
    expect(page.locator(".page-head")).to_contain_text("Live v1.0.0")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_pages_of_flows_are_accessible_and_fit(engine: Browser, served: Web, theme: str, width: int) -> None:
    page = enter(engine, served, color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 844})
    found = []
    for path in (
        "/flows",
        "/flows/new",
        "/flows/release-approval",
        "/flows/release-approval/start",
        "/flows/release-approval/edit#release",
    ):
        page.goto(served.url + path)
        if path.endswith("#release"):
            expect(page.locator("#graph g.node").first).to_be_attached()
        report = page.evaluate(AXE.read_text() + "\n;axe.run(document, {resultTypes: ['violations']})")
        found += [(path, v["id"], v["nodes"][0]["target"]) for v in report["violations"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert found == []
    assert page.complaints == []  # type: ignore[attr-defined]
