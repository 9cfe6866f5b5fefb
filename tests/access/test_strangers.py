"""Who is not signed in gets nothing: every page and every operation of the API, asked by a stranger."""

from __future__ import annotations

import re
from typing import Final

import pytest
from django.test import Client
from django.urls import get_resolver

from tests.access.test_matrix import _views, operations

pytestmark = pytest.mark.django_db
#: open to everybody: signing in, health, schemas, and addresses that carry their own proof
OPEN_PAGES: Final = {
    "login", "logout", "healthz", "readyz", "hooks/<str:slug>/<str:trigger>", "callbacks/<str:token>",
    "shared/<str:token>", "schemas/events", "schemas/events/<str:name>.json",
    "invitations/<str:uid>/<str:token>",
}  # fmt: skip


def _address(pattern: str) -> str:
    return "/" + re.sub(r"<int:[a-z_]+>", "1", re.sub(r"<(str|slug):[a-z_]+>|<[a-z_]+>", "a", pattern))


def test_a_page_sends_a_stranger_to_sign_in() -> None:
    client, wrong, tried = Client(), {}, 0
    for pattern, _ in _views(get_resolver().url_patterns, ""):
        if "api/v1" in pattern or pattern in OPEN_PAGES or "static" in pattern:
            continue
        for method in ("get", "post"):
            answer = getattr(client, method)(_address(pattern))
            tried += 1
            signs_in = answer.status_code == 302 and answer["Location"].startswith("/login")
            if not signs_in and answer.status_code not in (401, 403, 405):
                wrong[f"{method} {pattern}"] = (answer.status_code, answer.get("Location", ""))
    assert wrong == {} and tried > 100


def test_the_api_tells_a_stranger_to_show_a_token() -> None:
    client, wrong = Client(), {}
    for operation in sorted(operations()):
        method, path = operation.split()
        address = "/api/v1" + re.sub(r"\{[a-z_]+\}", "1", path)
        answer = client.generic(method, address, b"{}", content_type="application/json")
        if answer.status_code != 401:
            wrong[operation] = answer.status_code
    assert wrong == {}
