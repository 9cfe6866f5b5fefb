"""A lively workspace, somebody signed in, and a browser that reports what it complains about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from tests.pages import seed

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright keeps an event loop in the tests' own thread
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def place(db: None) -> dict[str, Any]:
    return seed.workspace()


@pytest.fixture
def sign_in(place: dict[str, Any]) -> Callable[[str], Client]:
    def enter(name: str) -> Client:
        client = Client()
        client.force_login(place["people"][name])
        return client

    return enter


@pytest.fixture(scope="module")
def browser(chromium: str | None) -> Iterator[Any]:
    """One a module: each test has contexts of its own. Not one a session, since its event loop stops asyncio.run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        engine = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield engine
        engine.close()
