"""The whole program on each database, once for all scenes, and one browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack
from tests.story.stage import Stage

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="package")
def story_browser(chromium: str | None) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        engine = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield engine
        engine.close()


@pytest.fixture(scope="package", params=["sqlite", "postgres"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, story_browser: Any
) -> Iterator[Stage]:
    data: Path = tmp_path_factory.mktemp(f"story-{request.param}")
    url = request.getfixturevalue("postgres_server").new_database() if request.param == "postgres" else ""
    with Stack(data, database_url=url, workers=2) as stack:
        stage = Stage(stack, story_browser)
        yield stage
        stage.tell()


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    running.clear()
    running.complaints.clear()
    yield running
    running.leave()
