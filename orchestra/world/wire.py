"""As much HTTP/1.1 as the demo world needs: keep-alive, a bounded head, a bounded body with Content-Length."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MAX_HEAD = 16 * 1024
MAX_BODY = 256 * 1024
IDLE_SECONDS = 120.0


class WireError(Exception):
    """The request cannot be served; `status` and the message are the answer, then the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON; an empty one is null. Raises WireError (400)."""
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise WireError(400, f"The body is not JSON: {error}.") from error


@dataclass(frozen=True, slots=True)
class Response:
    """`dropped`: close the connection without a word instead of answering."""

    body: bytes = b""
    status: int = 200
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: bool = False

    def encode(self, *, keep: bool) -> bytes:
        head = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.type}",
            f"Content-Length: {len(self.body)}",
            f"Connection: {'keep-alive' if keep else 'close'}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + self.body


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(json.dumps(value).encode(), status, headers=named)


def problem(status: int, message: str) -> Response:
    return json_response(
        {"error": {"code": HTTPStatus(status).phrase.lower().replace(" ", "_"), "message": message}}, status
    )


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when the other side is done. Raises WireError."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        return None
    except asyncio.LimitOverrunError as error:
        raise WireError(431, "The request's head is too long.") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise WireError(400, "This is not HTTP/1.1.")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    target = urlsplit(parts[1])
    return Request(parts[0], target.path, dict(parse_qsl(target.query)), headers, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise WireError(411, "Send the body with a Content-Length.")
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise WireError(400, "Content-Length must be a number.")
    if int(length) > MAX_BODY:
        raise WireError(413, f"The body is over {MAX_BODY} bytes.")
    try:
        return await asyncio.wait_for(reader.readexactly(int(length)), IDLE_SECONDS)
    except (asyncio.IncompleteReadError, TimeoutError) as error:
        raise WireError(400, "The body ended early.") from error
