"""Uploads in parts: in order, by their owner, complete by their digest, gone after a day."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from resources import artifacts, blobs, parts
from resources.models import Artifact, Blob, Upload
from tests.pages.test_resource_pages import api
from tests.resources.conftest import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]
BODY = os.urandom(2500)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.MAX_UPLOAD_BYTES = 1000


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(make_user("oli", "operator", folder="payments"))
    return client


def begin(client: Client, **more: Any) -> Any:
    return api(client, "post", "/uploads", {"size": len(BODY), "name": "big.bin", "folder": "payments", **more})


def put(client: Client, upload: str, offset: int, data: bytes) -> Any:
    return client.put(f"/api/v1/uploads/{upload}?offset={offset}", data, content_type="application/octet-stream")


def test_parts_become_one_resource_and_leave_nothing_else(browser: Client) -> None:
    upload = begin(browser).json()["id"]
    for offset in (0, 1000, 2000):
        assert put(browser, upload, offset, BODY[offset : offset + 1000]).status_code == 200
    again = put(browser, upload, 1000, BODY[1000:2000])
    assert (again.status_code, again.json()["error"]["details"]) == (409, {"offset": 2500})
    wrong = api(browser, "post", f"/uploads/{upload}/complete", {"sha256": "0" * 64})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "wrong_digest")
    done = api(browser, "post", f"/uploads/{upload}/complete", {"sha256": hashlib.sha256(BODY).hexdigest()})
    assert (done.status_code, done.json()["size"], done.json()["created_by"]) == (201, 2500, "oli")
    assert artifacts.read(artifacts.get(done.json()["id"])) == BODY
    assert (Upload.objects.count(), Blob.objects.count()) == (0, 1)
    assert api(browser, "get", f"/uploads/{upload}").status_code == 404


def test_parts_that_do_not_fit_are_refused_and_change_nothing(browser: Client) -> None:
    upload = begin(browser, size=1500).json()["id"]
    assert put(browser, upload, 0, b"x" * 1001).status_code == 413
    assert put(browser, upload, 0, b"").status_code == 422
    assert put(browser, upload, 0, b"x" * 1000).json()["offset"] == 1000
    assert put(browser, upload, 1000, b"x" * 501).status_code == 422
    early = api(browser, "post", f"/uploads/{upload}/complete", {"sha256": "0" * 64})
    assert early.json()["error"]["code"] == "incomplete"
    assert api(browser, "get", f"/uploads/{upload}").json()["offset"] == 1000
    assert not Artifact.objects.exists()


def test_nobody_else_goes_on_with_it_and_twenty_are_enough(browser: Client) -> None:
    upload = begin(browser).json()["id"]
    other = Client()
    other.force_login(make_user("ada", "admin"))
    assert put(other, upload, 0, b"x").status_code == 404
    for _ in range(parts.MOST - 1):
        assert begin(browser).status_code == 201
    assert begin(browser).status_code == 429
    assert begin(browser, folder="ops").status_code == 403
    assert begin(browser, size=2**50).status_code == 413


def test_parts_are_kept_while_it_is_open_and_go_when_it_is_over_or_given_up(browser: Client) -> None:
    one, two = begin(browser).json()["id"], begin(browser).json()["id"]
    for upload, data in ((one, b"same"), (two, b"same")):
        put(browser, upload, 0, data)
    assert blobs.sweep_unused() == 0
    assert api(browser, "delete", f"/uploads/{one}").status_code == 204
    assert Blob.objects.count() == 1
    parts.forget_expired(time.time() + parts.LIFE + 1)
    assert (Upload.objects.count(), Blob.objects.count()) == (0, 0)
