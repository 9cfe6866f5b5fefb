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


class Later:
    """An answer that is there at the n-th question; of 0: never; below: asking breaks."""

    def __init__(self, at: int, seconds: float) -> None:
        self.at, self.seconds, self.asked = at, seconds, 0

    def poll(self) -> HttpResponse | None:
        self.asked += 1
        if self.at < 0:
            raise RuntimeError("a bug")
        return JsonResponse({"asked": self.asked}) if self.asked == self.at else None


def waits(request: HttpRequest) -> HttpResponse:
    response = JsonResponse({"status": "started"}, status=202)
    at, seconds = request.GET["at"], request.GET.get("for", "30")
    response.later = Later(int(at), float(seconds))  # type: ignore[attr-defined]
    return response


urlpatterns = [path("echo", echo), path("stream", stream), path("broken", broken), path("waits", waits)]
handler500 = "tests.flows.test_handler.failed"


def failed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("failed", status=500)


def ask(
    app: Any, url: str, *parts: bytes, method: str = "POST", query: bytes = b"", leaves: bool = True
) -> list[dict[str, Any]]:
    """The messages the application sends for one request. `leaves`: the client is gone when all is read."""
    return asyncio.run(exchange(app, url, *parts, method=method, query=query, leaves=leaves))


async def exchange(
    app: Any, url: str, *parts: bytes, method: str = "POST", query: bytes = b"", leaves: bool = True
) -> list[dict[str, Any]]:
    sent = list[dict[str, Any]]()
    messages = [
        {"type": "http.request", "body": p, "more_body": i < len(parts) - 1} for i, p in enumerate(parts or (b"",))
    ]

    async def receive() -> dict[str, Any]:
        if not messages and not leaves:
            await asyncio.Event().wait()
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": url,
        "query_string": query,
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
    }
    await app(scope, receive, send)
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


def told(messages: list[dict[str, Any]]) -> tuple[int, Any]:
    return messages[0]["status"], json.loads(messages[1]["body"])


def test_a_call_that_waits_gets_the_later_answer(app: PooledHandler) -> None:
    assert told(ask(app, "/waits", query=b"at=3", leaves=False)) == (200, {"asked": 3})


def test_when_the_time_is_up_the_first_answer_is_sent(app: PooledHandler) -> None:
    assert told(ask(app, "/waits", query=b"at=0&for=0.2", leaves=False)) == (202, {"status": "started"})


def test_nobody_waits_for_a_client_that_left(app: PooledHandler) -> None:
    assert told(ask(app, "/waits", query=b"at=0&for=3600")) == (202, {"status": "started"})


def test_a_bug_while_waiting_is_a_500_with_an_id(app: PooledHandler, caplog: pytest.LogCaptureFixture) -> None:
    status, body = told(ask(app, "/waits", query=b"at=-1", leaves=False))
    assert (status, body["error"]["code"]) == (500, "internal")
    assert body["error"]["details"]["id"] in caplog.text


def test_waiting_calls_take_no_thread_and_those_above_the_bound_do_not_wait(app: PooledHandler, settings: Any) -> None:
    settings.WAITING_CALLS = 20

    async def all_at_once() -> tuple[list[Any], Any, list[Any]]:
        waiting = [
            asyncio.ensure_future(exchange(app, "/waits", query=b"at=0&for=3600", leaves=False)) for _ in range(20)
        ]
        while app._waiting < 20:
            await asyncio.sleep(0.01)
        one_more = await exchange(app, "/waits", query=b"at=1", leaves=False)
        health = await exchange(app, "/echo", b"ok", leaves=False)  # the only thread is free
        for call in waiting:
            call.cancel()
        return one_more, health, await asyncio.gather(*waiting, return_exceptions=True)

    one_more, health, _ = asyncio.run(all_at_once())
    assert told(one_more) == (202, {"status": "started"})
    assert told(health)[1]["body"] == "ok"
    assert app._waiting == 0
