"""The pages in Chromium: accessible and within the policy, both themes, wide and phone; keyboard; live updates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.pages import seed

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AXE = Path(settings.BASE_DIR) / "node_modules/axe-core/axe.min.js"
SIZES = {"wide": (1440, 900), "rail": (1000, 800), "phone": (390, 844)}
#: stands for the server's side of /ws/live: the page's sockets are kept, the test speaks through them
SOCKET = """
window.sockets = [];
window.WebSocket = class {
  constructor() {
    this.readyState = 0; this.sent = []; sockets.push(this);
    if (!window.dead) setTimeout(() => this.open(), 5);
  }
  open() { this.readyState = 1; this.onopen?.(); }
  send(text) { this.sent.push(text); }
  close() { this.readyState = 3; this.onclose?.(); }
};
window.say = (notice) => sockets.at(-1).onmessage({data: JSON.stringify(notice)});
"""


@pytest.fixture
def lively(transactional_db: None) -> dict[str, Any]:
    return seed.workspace()


@pytest.fixture
def visit(browser: Any, live_server: Any, lively: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """Opens a path as somebody; `page.complaints` gathers what the browser says against it."""
    contexts = []

    def go(path: str, *, name: str = "ana", theme: str = "light", size: str = "wide", scripts: bool = True) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce",
            java_script_enabled=scripts,
        )  # fmt: skip
        contexts.append(context)
        client = Client()
        client.force_login(lively["people"][name])
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        context.add_init_script(SOCKET)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: page.complaints.append(str(e)))
        page.goto(live_server.url + path)
        return page

    yield go
    for context in contexts:
        context.close()


def paths(lively: dict[str, Any]) -> dict[str, str]:
    run, main = lively["waiting"].run.pk, lively["main"].pk
    return {
        "home": "/", "runs": "/runs", "no runs": "/runs?q=zzz", "run": f"/runs/{run}?step=tests&tab=attempts",
        "failed run": f"/runs/{lively['failed'].run.pk}", "inbox": "/inbox", "request": f"/approvals/{main}",
        "form": f"/approvals/{lively['plain'].pk}", "decided": f"/approvals/{lively['done'].pk}", "nothing": "/nowhere",
    }  # fmt: skip


def axe(page: Any) -> list[str]:
    page.evaluate(AXE.read_text() + ";0")
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then((r) => r.violations)")
    return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "rail", "phone"])
def test_every_page_is_accessible_fits_and_keeps_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    page = visit("/", theme=theme, size=size)
    problems = []
    for name, path in paths(lively).items():
        page.goto(live_server.url + path)
        problems += [f"{name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    page.goto(live_server.url + f"/approvals/{lively['main'].pk}")
    page.get_by_role("button", name="Approve…").click()
    problems += [f"dialog: {p}" for p in axe(page)]
    expected = "status of 404"  # the address that is nowhere
    problems += [c for c in page.complaints if expected not in c]
    assert problems == []


def test_each_dialog_of_a_run_opens_fits_and_no_id_is_there_twice(
    visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    page = visit("/", size="phone", theme="dark")
    opened, problems = set(), []
    for run in (lively["waiting"].run.pk, lively["failed"].run.pk):
        page.goto(live_server.url + f"/runs/{run}")
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        problems += [f"{found} is there twice" for found in {i for i in ids if ids.count(i) > 1}]
        for button in page.locator("button[command='show-modal']:not([aria-disabled='true']):visible").all():
            name = button.get_attribute("commandfor")
            button.click()
            if not page.evaluate("(name) => document.getElementById(name).open === true", name):
                problems.append(f"{name} does not open")
                continue
            opened.add(name)
            problems += [f"{name}: {p}" for p in axe(page)]
            page.keyboard.press("Escape")
    assert {"cancel", "pause-it", "terminate"} < opened and len(opened) > 6
    assert problems == []


def test_a_pause_asked_for_in_its_dialog_reaches_the_run(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    page = visit(f"/runs/{lively['waiting'].run.pk}")
    page.keyboard.press("p")
    page.locator("#pause-why").fill("a look")
    page.get_by_role("button", name="Pause the run").click()
    page.wait_for_function("() => document.body.innerText.includes('a look')")


def test_the_browser_reports_a_breach_of_the_policy(visit: Callable[..., Any]) -> None:
    page = visit("/runs")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\" id=\"bad\">x</p>')")
    page.wait_for_function("() => document.getElementById('bad')")
    while not any("Content Security Policy" in c for c in page.complaints):  # or the test's time is over
        page.wait_for_timeout(50)


def test_approving_asks_for_the_targets_name_and_posts_it(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    page = visit(f"/approvals/{lively['main'].pk}")
    page.keyboard.press("a")
    confirm = page.locator("[data-confirm-submit]")
    assert confirm.get_attribute("aria-disabled") == "true"
    page.fill("#c-name", "release-servic")
    assert confirm.get_attribute("aria-disabled") == "true"
    page.fill("#c-name", "release-service")
    assert confirm.get_attribute("aria-disabled") == "false"
    page.keyboard.press("Escape")
    assert page.locator("#confirm[open]").count() == 0
    page.keyboard.press("a")
    assert page.input_value("#c-name") == ""


def test_every_run_that_matches_is_chosen_and_looked_at_by_keyboard_alone(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    page = visit("/runs?range=30d")
    rows = page.locator("[data-pick]").count()
    page.locator("[data-pick-all]").press("Space")
    assert page.locator("[data-pick]:checked").count() == rows > 1
    page.locator("[data-pick-all]").press("Space")
    assert page.locator("[data-pick]:checked").count() == 0
    page.select_option(".list-bulk select", "cancel")
    page.fill(".list-bulk [name=reason]", "the wrong day")
    page.locator(".list-bulk [name=all]").press("Space")
    page.locator(".list-bulk [name=reason]").press("Enter")
    page.get_by_role("heading", name="Cancel them?").wait_for()
    assert axe(page) == [] and page.complaints == []
    assert page.locator("#bulk-why").input_value() == "the wrong day"


def test_the_keyboard_moves_opens_and_goes(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    page = visit("/inbox")
    page.keyboard.press("j")
    page.wait_for_selector("#detail #detail-title")
    first = page.inner_text("#detail-title")
    page.keyboard.press("j")
    page.wait_for_function("(was) => document.querySelector('#detail-title')?.textContent !== was", arg=first)
    assert "/approvals/" in page.url
    page.keyboard.press("?")
    assert page.locator("#keys[open]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.keyboard.press("/")
    page.keyboard.type("jg")
    assert page.input_value("[data-find]") == "jg"


def test_the_keyboard_walks_the_steps_of_a_run(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    page = visit(f"/runs/{lively['waiting'].run.pk}?step=build")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('#side-title').textContent === 'tests'")
    page.keyboard.press("[")
    page.wait_for_function("() => document.querySelector('#side-title').textContent === 'build'")
    page.locator("#t-attempts").click()
    assert page.locator("#p-attempts").is_visible() and not page.locator("#p-output").is_visible()


def test_the_theme_button_keeps_its_choice(visit: Callable[..., Any]) -> None:
    page = visit("/runs")
    page.get_by_role("button", name="Switch theme").click()
    assert page.get_attribute("html", "data-theme") == "dark"
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"


def subscribed(page: Any) -> list[str]:
    page.wait_for_function("() => sockets.at(-1)?.sent.length")
    page.wait_for_timeout(400)  # the fetches that follow the connection
    topics: list[str] = json.loads(page.evaluate("sockets.at(-1).sent.at(-1)"))["subscribe"]
    return topics


def test_a_step_that_ends_is_on_the_page_without_a_reload(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    story = lively["running"]
    page = visit(f"/runs/{story.run.pk}?step=build")
    assert subscribed(page) == ["inbox", f"run:{story.run.pk}", "runs"]  # the bell hears of all runs
    events = page.locator("#events > li").count()
    story.steps["build"].status = "succeeded"
    story.steps["build"].save(update_fields=["status"])
    story.event(39, "step.succeeded", "build", attempt=1)
    page.evaluate("(run) => say({topic: `run:${run}`, run, type: 'step.succeeded'})", story.run.pk)
    page.wait_for_selector("#row-build >> text=succeeded", state="attached")
    assert page.locator("#events > li").count() == events + 1
    assert page.locator("#node-build .node").get_attribute("data-state") == "succeeded"
    assert page.inner_text("#side .badge") == "Succeeded"


def test_what_an_attempt_says_follows_its_end_unless_the_reader_scrolled_up(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    story = lively["running"]

    def say(lines: int) -> None:
        row = story.steps["build"]
        row.live = {"attempt": row.attempt, "tail": "".join(f"line {n}\n" for n in range(lines))}
        row.save(update_fields=["live"])

    say(100)
    page = visit(f"/runs/{story.run.pk}?step=build")
    gap = "() => (t => t.scrollHeight - t.scrollTop - t.clientHeight)(document.querySelector('[data-tail]'))"
    assert page.evaluate(gap) < 2
    say(150)
    page.wait_for_function("() => document.querySelector('[data-tail]').textContent.includes('line 149')")
    page.wait_for_function(f"() => ({gap})() < 2")
    page.evaluate("() => { document.querySelector('[data-tail]').scrollTop = 40 }")
    say(200)
    page.wait_for_function("() => document.querySelector('[data-tail]').textContent.includes('line 199')")
    page.wait_for_timeout(50)
    assert page.evaluate("() => document.querySelector('[data-tail]').scrollTop") == 40
    assert axe(page) == [] and page.complaints == []


def test_a_burst_of_notices_becomes_few_fetches(visit: Callable[..., Any], lively: dict[str, Any]) -> None:
    story = lively["running"]
    page = visit(f"/runs/{story.run.pk}")
    subscribed(page)
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if f"/runs/{story.run.pk}" in r.url else None)
    page.evaluate("(run) => { for (let n = 0; n < 200; n++) say({topic: `run:${run}`}); }", story.run.pk)
    while not asked:  # or the test's time is over
        page.wait_for_timeout(50)
    page.wait_for_timeout(600)
    assert len(asked) <= 2, "one at once and one for what came meanwhile"


def test_a_decision_elsewhere_closes_the_open_dialog_and_says_so(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    row = lively["urgent"]
    page = visit(f"/approvals/{row.pk}")
    subscribed(page)
    page.keyboard.press("a")
    page.fill("#c-name", "refund-batch")
    seed.vote(row, lively["people"]["jonas"])
    row.status, row.closed_at = "approved", time.time()
    row.save(update_fields=["status", "closed_at"])
    page.evaluate("say({topic: 'inbox', type: 'approval.decided'})")
    page.wait_for_selector("#request-live >> text=Approved by Jonas Lindqvist")
    assert page.locator("dialog[open]").count() == 0
    assert page.get_by_role("button", name="Approve…").get_attribute("aria-disabled") == "true"


def test_new_requests_wait_behind_a_line_and_the_count_changes(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    page = visit("/inbox")
    subscribed(page)
    rows = page.locator("#inbox-live [data-item]").all_inner_texts()
    seed.ask(seed.Story(lively["main"].run.flow, age=9).to_approval(), title="Brand new", age=-30, expires=60)
    page.evaluate("say({topic: 'inbox', type: 'approval.requested'})")
    page.wait_for_selector("#inbox-new >> text=1 new request")
    assert len(page.locator("#inbox-live [data-item]").all_inner_texts()) == len(rows)
    page.wait_for_function("() => parseInt(document.querySelector('#inbox-count').textContent) === 5")
    page.keyboard.press(".")
    page.wait_for_selector("#inbox-live >> text=Brand new")


def test_what_was_missed_while_the_connection_was_cut_is_fetched_and_decisions_wait(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    row = lively["urgent"]
    page = visit(f"/approvals/{row.pk}")
    subscribed(page)
    approve = page.get_by_role("button", name="Approve…")
    page.evaluate("window.dead = true; sockets.at(-1).close()")
    page.wait_for_selector("text=Reconnecting")
    assert approve.get_attribute("aria-disabled") == "true"
    row.status, row.closed_at = "rejected", time.time()
    row.save(update_fields=["status", "closed_at"])
    page.evaluate("window.dead = false; sockets.at(-1).open()")
    page.wait_for_selector("#request-live >> text=What it asked for does not happen.")
    assert page.inner_text("[data-live-dot]") == "Live"


def test_a_fragment_somebody_types_in_is_not_swapped_but_offered(
    visit: Callable[..., Any], lively: dict[str, Any]
) -> None:
    page = visit("/inbox")
    subscribed(page)
    page.evaluate(
        "document.querySelector('#inbox-live').insertAdjacentHTML('beforeend', '<form><input id=\"mine\"></form>')"
    )
    page.fill("#mine", "half a thought")
    page.evaluate("say({topic: 'inbox'})")
    page.wait_for_selector("text=This changed while you were working here.")
    assert page.input_value("#mine") == "half a thought"
    page.get_by_role("button", name="Show the change").click()
    page.wait_for_selector("#mine", state="detached")


def test_pages_work_without_scripts(browser: Any, live_server: Any, lively: dict[str, Any]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(live_server.url + f"/approvals/{lively['main'].pk}")
    page.fill("#username", "ana")
    page.fill("#password", seed.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    assert page.inner_text("#detail-title") == "Release payments-api v4.2.0 to production"
    assert page.get_by_role("button", name="Send this decision").is_visible()
    page.goto(live_server.url + f"/runs/{lively['waiting'].run.pk}?step=tests")
    page.locator("#t-attempts").click()
    assert page.locator("#p-attempts").is_visible()
    context.close()


@pytest.mark.parametrize("size", ["wide", "rail"])
def test_whoever_is_signed_in_reaches_the_way_out(size: str, visit: Callable[..., Any]) -> None:
    page = visit("/", size=size)
    name = page.locator(".nav__who .truncate")
    name.evaluate("e => { e.textContent = 'A name that is longer than the navigation is wide'; }")
    way = page.get_by_role("button", name="Sign out").bounding_box()
    nav = page.locator(".nav").bounding_box()
    assert way is not None and nav is not None
    assert (
        way["x"] + way["width"] <= nav["x"] + nav["width"] and way["y"] + way["height"] <= page.viewport_size["height"]
    )
