"""Where a new flow begins, and the page of a template: in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.pages.test_browser import axe, lively, visit

__all__ = ["lively", "visit"]  # fixtures


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "size"), [("light", "wide"), ("dark", "phone")])
def test_their_pages_are_accessible_and_fit(
    theme: str, size: str, visit: Callable[..., Any], live_server: Any, lively: dict[str, Any]
) -> None:
    page = visit("/flows/new", theme=theme, size=size)
    problems = []
    for path in ("/flows/new", "/flows/templates/release", "/flows/templates/empty"):
        page.goto(live_server.url + path)
        if os.environ.get("SHOTS"):
            page.screenshot(path=f"{os.environ['SHOTS']}/{path.replace('/', '-')}-{theme}-{size}.png", full_page=True)
        problems += [f"{path}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{path}: wider than the screen")
    assert problems + page.complaints == []
