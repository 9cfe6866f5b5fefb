"""Calls a URL on this machine some time later: the outside answering a callback, once or several times."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from orchestra.world.wire import WireError

MAX_TIMES = 20
MAX_AFTER_MS = 3_600_000
MAX_PENDING = 1000
CALL_SECONDS = 30.0
LOOPBACK = ("127.0.0.1", "localhost")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    host: str
    port: int
    target: str
    after_s: float
    times: int
    headers: dict[str, str]
    body: bytes

    def encode(self) -> bytes:
        head = {
            "Host": f"{self.host}:{self.port}",
            "Content-Type": "application/json",
            **self.headers,
            "Content-Length": str(len(self.body)),
            "Connection": "close",
        }
        lines = [f"POST {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def parse_call(body: Any) -> Call:
    """{url, after_ms = 0, times = 1, body = {}, headers = {}} -> Call. Raises WireError (400)."""
    if not isinstance(body, dict) or not isinstance(body.get("url"), str):
        raise WireError(400, "Send a JSON object with url, and after_ms, times, body, headers where wanted.")
    url = urlsplit(body["url"])
    if url.scheme != "http" or url.hostname not in LOOPBACK:
        raise WireError(400, "url must be http:// on 127.0.0.1: the demo world calls nobody outside this machine.")
    after_ms, times, headers = body.get("after_ms", 0), body.get("times", 1), body.get("headers", {})
    if not isinstance(after_ms, int) or not 0 <= after_ms <= MAX_AFTER_MS:
        raise WireError(400, f"after_ms must be a whole number from 0 to {MAX_AFTER_MS}.")
    if not isinstance(times, int) or not 1 <= times <= MAX_TIMES:
        raise WireError(400, f"times must be a whole number from 1 to {MAX_TIMES}.")
    if not isinstance(headers, dict) or any(not str(v).isprintable() for kv in headers.items() for v in kv):
        raise WireError(400, "headers must be an object of printable text.")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    text = {str(name): str(value) for name, value in headers.items()}
    content = json.dumps(body.get("body", {})).encode()
    return Call(url.hostname, url.port or 80, target, after_ms / 1000, times, text, content)


@dataclass(slots=True)
class Callbacks:
    """Planned calls. They live in this process only: a restart of the demo world forgets them."""

    pending: set[asyncio.Task[None]] = field(default_factory=set)

    def plan(self, body: Any) -> int:
        """Plan the calls of one request and say how many. Raises WireError (400, 429)."""
        call = parse_call(body)
        if len(self.pending) >= MAX_PENDING:
            raise WireError(429, f"{MAX_PENDING} callbacks are planned already.")
        task = asyncio.create_task(self._run(call))
        self.pending.add(task)  # the loop keeps only a weak reference
        task.add_done_callback(self.pending.discard)
        return call.times

    async def _run(self, call: Call) -> None:
        await asyncio.sleep(call.after_s)
        for _ in range(call.times):
            try:
                await asyncio.wait_for(_send(call), CALL_SECONDS)
            except (OSError, TimeoutError) as error:
                log.error("callback to %s:%s%s failed: %r", call.host, call.port, call.target, error)


async def _send(call: Call) -> None:
    reader, writer = await asyncio.open_connection(call.host, call.port)
    try:
        writer.write(call.encode())
        await writer.drain()
        await reader.read(65536)
    finally:
        writer.close()
