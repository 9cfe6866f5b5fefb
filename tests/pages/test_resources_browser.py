"""The pages of resources in a browser: nothing wrong in any look, an image and a link that work under the policy."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.actions import create_flow, release_draft
from resources import artifacts
from resources.access import Actor
from resources.models import Artifact, Upload
from runs.models import Run
from tests.pages.test_browser import axe, lively, visit

pytestmark = pytest.mark.browser
__all__ = ["lively", "visit"]  # fixtures
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def shelf(tmp_path: Path, settings: Any, lively: dict[str, Any]) -> dict[str, str]:
    settings.MEDIA_ROOT = tmp_path / "files"
    folder = lively["main"].folder

    def make(data: bytes, content_type: str, name: str, **more: Any) -> str:
        return f"/resources/{artifacts.write([data], content_type=content_type, name=name, folder=folder, **more).pk}"

    rows = b"service,version,when\n" + b"payments,v1.2.3,2026-11-21\n" * 300
    return {
        "table": make(rows, "text/csv", "releases.csv", labels={"team": "payments", "kind": "report"}),
        "json": make(b'{"rows": [{"id": 1}]}', "application/json", "rows.json", pinned=True),
        "binary": make(os.urandom(3000), "application/octet-stream", "backup.bin", keep="until", keep_until=2e9),
        "image": make(PIXEL, "image/png", "pixel.png"),
        "list": "/resources",
        "nothing found": "/resources?q=zzz",
        "upload": "/resources/upload",
    }


@pytest.mark.parametrize(
    ("theme", "size"), [("light", "wide"), ("dark", "wide"), ("light", "phone"), ("dark", "phone")]
)
def test_every_page_of_resources_is_accessible_fits_and_keeps_the_policy(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, shelf: dict[str, str]
) -> None:
    page = visit("/resources", theme=theme, size=size)
    problems = []
    for name, path in shelf.items():
        page.goto(live_server.url + path)
        for closed in page.locator("main details").all():
            closed.evaluate("(e) => { e.open = true }")
        if os.environ.get("SHOTS"):
            page.screenshot(path=f"{os.environ['SHOTS']}/res-{name}-{theme}-{size}.png", full_page=True)
        problems += [f"{name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{name}: wider than the screen")
    assert problems + page.complaints == []


def test_an_image_is_drawn_and_a_link_can_be_copied(visit: Callable[..., Any], shelf: dict[str, str]) -> None:
    page = visit(shelf["image"])
    assert page.evaluate("document.querySelector('.preview-image').naturalWidth") == 1
    page.click("text=Copy link")
    assert "/shared/" in page.input_value("#link")
    assert page.complaints == []


@pytest.fixture
def large(settings: Any, tmp_path: Path) -> Path:
    """A file of three parts."""
    settings.MAX_UPLOAD_BYTES = 100_000
    (tmp_path / "big.bin").write_bytes(os.urandom(250_011))
    return tmp_path / "big.bin"


def choose(page: Any, file: Path) -> None:
    page.set_input_files("input[type=file]", file)
    page.click("form[data-uploads] button.btn--primary")


def refused(page: Any, offset: int) -> None:
    page.route(f"**/api/v1/uploads/*?offset={offset}", lambda route: route.fulfill(status=403, json=REFUSED))


REFUSED = {"error": {"code": "not_allowed", "message": "Not now.", "hint": "Ask ada."}}


def test_a_file_goes_in_parts_and_goes_on_where_it_was_after_a_reload(
    visit: Callable[..., Any], shelf: dict[str, str], large: Path
) -> None:
    page = visit("/resources/upload")
    refused(page, 100_000)
    choose(page, large)
    page.wait_for_selector("[role=alert] >> text=Not now. Ask ada.")
    assert Upload.objects.get().received == 100_000
    assert axe(page) == []
    page.unroute_all()
    page.reload()
    page.wait_for_selector("text=big.bin is not complete")
    choose(page, large)
    page.wait_for_url("**/resources/0*")
    made = Artifact.objects.get(name="big.bin")
    assert (artifacts.read(made), Upload.objects.count()) == (large.read_bytes(), 0)
    assert page.evaluate("localStorage.length") == 0


def test_an_upload_pauses_goes_on_through_a_lost_connection_and_is_cancelled_by_keyboard(
    visit: Callable[..., Any], shelf: dict[str, str], large: Path
) -> None:
    page = visit("/resources/upload")
    lost: list[str] = []
    held: list[Any] = []

    def cut(route: Any) -> None:
        """The first answer is lost after the part arrived; the next try is told that it is there."""
        lost.append(route.request.url)
        if len(lost) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/api/v1/uploads/*?offset=100000", cut)
    page.route("**/api/v1/uploads/*?offset=200000", lambda route: held.append(route))
    page.route("**/complete", lambda route: route.abort())
    choose(page, large)
    while not held:
        page.wait_for_timeout(50)
    page.click("#upload-pause")
    held[0].continue_()
    page.wait_for_selector("text=Paused. What is uploaded stays for a day.")
    assert len(lost) == 2 and not Artifact.objects.filter(name="big.bin").exists()
    assert page.inner_text("#upload-pause") == "Go on" and axe(page) == []
    page.focus("#upload-pause")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The connection is lost. It is tried again.")
    page.focus("#upload-cancel")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Cancelled. Nothing of it is kept.")
    page.wait_for_function("() => localStorage.length === 0")
    assert not Artifact.objects.filter(name="big.bin").exists()


def test_the_form_that_starts_a_run_brings_a_large_file_in_parts(
    visit: Callable[..., Any], shelf: dict[str, str], large: Path
) -> None:
    schema = {"type": "object", "properties": {"rows": {"type": "string", "format": "resource"}}}
    source = json.dumps({"flow": "takes", "input": schema, "steps": [{"id": "nap", "sleep": "1s"}]})
    create_flow(actor=Actor.system("tests"), source=source)
    release_draft(actor=Actor.system("tests"), slug="takes", version="1.0.0", live=True)
    page = visit("/flows/takes/start")
    choose(page, large)
    page.wait_for_url("**/runs/*")
    made = Artifact.objects.get(name="big.bin")
    assert artifacts.read(made) == large.read_bytes()
    assert Run.objects.get(flow__slug="takes").input == {"rows": str(made)}


def test_without_scripts_the_form_takes_a_small_file(
    browser: Any, visit: Callable[..., Any], shelf: dict[str, str], large: Path
) -> None:
    page = visit("/resources/upload", scripts=False)
    large.write_bytes(b"small")
    choose(page, large)
    page.wait_for_url("**/resources/0*")
    assert artifacts.read(Artifact.objects.get(name="big.bin")) == b"small"
