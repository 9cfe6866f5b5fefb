"""The ASGI application that serves HTTP from a pool of threads."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from orchestra.handler import PooledHandler, read_body
from resources.errors import TooLarge


def echo(request: HttpRequest) -> HttpResponse:
    response = JsonResponse(
        {"body": request.body.decode(), "thread": threading.current_thread().name, "path": request.path}
    )
    response.set_cookie("a", "b")
    return response


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"one ", b"two"]))


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a bug")


urlpatterns = [path("echo", echo), path("stream", stream), path("broken", broken)]
handler500 = "tests.flows.test_handler.failed"


def failed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("failed", status=500)


def ask(app: Any, url: str, *parts: bytes, method: str = "POST") -> list[dict[str, Any]]:
    """The messages the application sends for one request."""
    sent = list[dict[str, Any]]()
    messages = [
        {"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts or (b"",))
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": url,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
    }
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.fixture
def app(settings: Any) -> PooledHandler:
    settings.MIDDLEWARE = []
    settings.ROOT_URLCONF = "tests.flows.test_handler"
    settings.MAX_BODY_BYTES = 10
    return PooledHandler(threads=1)


def test_a_body_in_parts_is_one_and_every_request_has_the_same_thread(app: PooledHandler) -> None:
    first, second = (ask(app, "/echo", b"ab", b"cd") for _ in range(2))
    answers = [json.loads(messages[1]["body"]) for messages in (first, second)]
    assert answers[0] == answers[1]
    assert answers[0]["body"] == "abcd"
    assert answers[0]["thread"].startswith("web")
    assert first[0]["status"] == 200
    assert any(name == b"Set-Cookie" and value.startswith(b"a=b") for name, value in first[0]["headers"])


def test_a_large_body_is_refused_without_being_kept(app: PooledHandler) -> None:
    start, body = ask(app, "/echo", b"x" * 6, b"x" * 6)
    assert start["status"] == 413
    assert json.loads(body["body"])["error"]["code"] == "too_large"


def test_a_stream_is_sent_piece_by_piece(app: PooledHandler) -> None:
    assert [m["body"] for m in ask(app, "/stream", method="GET")[1:] if "body" in m] == [b"one ", b"two"]


def test_a_bug_in_a_view_is_a_500_and_the_thread_lives_on(app: PooledHandler) -> None:
    assert ask(app, "/broken")[0]["status"] == 500
    assert ask(app, "/echo")[0]["status"] == 200


def test_a_client_that_left_is_not_answered(app: PooledHandler) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert asyncio.run(read_body(gone, 10)) is None


def test_reading_stops_at_the_limit() -> None:
    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b"xxxx", "more_body": True}

    assert isinstance(asyncio.run(read_body(endless, 10)), TooLarge)
