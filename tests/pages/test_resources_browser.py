"""The pages of resources in a browser: nothing wrong in any look, an image and a link that work under the policy."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources import artifacts
from resources.models import Artifact, Upload
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


def test_a_file_goes_in_parts_and_goes_on_where_it_was_after_a_reload(
    visit: Callable[..., Any], live_server: Any, shelf: dict[str, str], tmp_path: Path, settings: Any
) -> None:
    settings.MAX_UPLOAD_BYTES, body = 100_000, os.urandom(250_011)
    (tmp_path / "big.bin").write_bytes(body)
    page = visit("/resources/upload")
    page.route("**/api/v1/uploads/*?offset=100000", lambda route: route.fulfill(status=403, json=REFUSED))
    page.set_input_files("input[type=file]", tmp_path / "big.bin")
    page.click("text=Upload the file")
    page.wait_for_selector("text=Not now.")
    assert Upload.objects.get().received == 100_000
    page.unroute("**/api/v1/uploads/*?offset=100000")
    page.reload()
    page.set_input_files("input[type=file]", tmp_path / "big.bin")
    page.click("text=Upload the file")
    page.wait_for_url("**/resources/0*")
    made = Artifact.objects.get(name="big.bin")
    assert (artifacts.read(made), Upload.objects.count()) == (body, 0)


REFUSED = {"error": {"code": "not_allowed", "message": "Not now.", "hint": ""}}
