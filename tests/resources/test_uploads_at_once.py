"""The limit of all uploads together holds for those that end, or begin, in the same moment; on both databases."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from resources import parts, quotas, uploads
from resources.access import Actor
from resources.errors import TooLarge
from resources.models import Artifact, Upload
from tests.engine.conftest import database

__all__ = ["database"]
ADMIN = Actor.system("test")


@pytest.fixture(autouse=True)
def crowded(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    """Whoever found room waits a moment for another one who found it, before it is taken."""
    settings.MEDIA_ROOT, settings.MAX_UPLOADED_BYTES = tmp_path / "files", 250
    check, two = quotas.check_total, threading.Barrier(2)

    def checked(size: int, *, counted: bool) -> None:
        check(size, counted=counted)
        with contextlib.suppress(threading.BrokenBarrierError):
            two.wait(timeout=0.5)

    monkeypatch.setattr(quotas, "check_total", checked)


def upload(number: int) -> None:
    data = bytes([65 + number]) * 80
    uploads.upload_resource(actor=ADMIN, chunks=[data], name=f"{number}", content_type="text/plain", folder="")


def announce(number: int) -> None:
    actor = Actor.system(f"test {number}")
    parts.begin_upload(actor=actor, name="x", content_type="text/plain", folder="", size=80, labels={}, now=1e9)


def at_once(work: Callable[[int], None]) -> list[str]:
    def one(number: int) -> str:
        with contextlib.closing(connection):
            try:
                work(number)
            except TooLarge as error:
                return error.stable_code
        return "taken"

    with ThreadPoolExecutor(6) as pool:
        return sorted(pool.map(one, range(6)))


@pytest.mark.parametrize("work", [upload, announce])
def test_what_comes_at_once_does_not_go_over_the_limit(database: str, work: Callable[[int], None]) -> None:
    assert at_once(work) == ["taken"] * 3 + ["uploads_full"] * 3
    assert Artifact.objects.count() + Upload.objects.count() == 3
