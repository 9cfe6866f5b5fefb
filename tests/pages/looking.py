"""A walk over pages in a browser: what is wrong with each, and a picture of it where SHOTS names a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tests.pages.test_browser import axe


def looked_at(page: Any, base: str, paths: Mapping[str, str], prefix: str) -> list[str]:
    """What axe finds, and what is wider than the screen. `paths`: {name: path}; `prefix` tells the pictures apart."""
    problems = []
    for name, path in paths.items():
        page.goto(base + path)
        if os.environ.get("SHOTS"):
            page.screenshot(path=f"{os.environ['SHOTS']}/{prefix}-{name}.png", full_page=True)
        problems += [f"{prefix} {name}: {p}" for p in axe(page)]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            problems.append(f"{prefix} {name}: wider than the screen")
    return problems
