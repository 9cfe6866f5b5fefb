"""GET /search: what it takes and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.search.conftest import place

__all__ = ["place"]
pytestmark = [pytest.mark.django_db, pytest.mark.db_matrix]


def test_hits_with_marks_in_plain_text(place: Any, call_as: Callable[[Any], Caller]) -> None:
    answer = call_as(place["vera"].user)("GET", "/search?q=crocodile&in=resources")
    (hit,) = answer.json()["items"]
    assert answer.status_code == 200 and answer.json()["total"] == 1 and not answer.json()["more"]
    assert (hit["kind"], hit["id"], hit["url"]) == ("resource", place["notes"].pk, f"/resources/{place['notes'].pk}")
    ((start, end),) = hit["marks"]
    assert hit["snippet"][start:end] == "crocodile" and hit["object"] is None


def test_objects_pages_and_filters(place: Any, call_as: Callable[[Any], Caller]) -> None:
    call = call_as(place["admin"].user)
    first = call("GET", "/search?q=crocodile&limit=1&hydrate=true").json()
    second = call("GET", f"/search?q=crocodile&limit=1&cursor={first['next_cursor']}").json()
    assert first["items"][0]["object"] is not None
    assert first["items"][0]["id"] != second["items"][0]["id"] and second["total"] == 3
    assert call("GET", "/search?q=crocodile&status=failed&folder=payments").json()["total"] == 1


@pytest.mark.parametrize(
    ("query", "status", "path"),
    [
        ("", 422, "/query/q"), ("q=x&limit=21", 422, "limit"), ("q=x&in=secrets", 422, "in"),
        ("q=x&since=yesterday", 422, "since"), (f"q={'x' * 501}", 422, "query"), ("q=a%00b", 400, "None"),
    ],
)  # fmt: skip
def test_refusals_say_where(place: Any, call_as: Callable[[Any], Caller], query: str, status: int, path: str) -> None:
    answer = call_as(place["admin"].user)("GET", f"/search?{query}")
    assert answer.status_code == status and path in str(answer.json()["error"]["details"]), answer.json()


def test_strangers_are_asked_who_they_are_and_others_find_nothing(place: Any, call_as: Callable[[Any], Caller]) -> None:
    assert call_as(None)("GET", "/search?q=crocodile").status_code == 401
    assert call_as(place["otto"].user)("GET", "/search?q=crocodile").json()["total"] == 0
