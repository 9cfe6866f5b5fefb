"""Speaks to Orchestra with nothing but the standard library. Imports nothing of the product: it runs on any laptop."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import quote, urlsplit

Json = Any
#: seconds between two tries, at first and at most, and after which nothing is tried any more
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
GIVE_UP: Final = 24 * 3600.0
#: bytes of an answer that are read
MAX_ANSWER: Final = 8 * 1024 * 1024


class Away(Exception):
    """Orchestra cannot be reached, or is not well, right now."""


class Said(Exception):
    """Orchestra said no. `code` is stable; `details` JSON."""

    def __init__(self, status: int, code: str, message: str, details: Json = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.details = status, code, details


@dataclass(frozen=True)
class Server:
    """`url`: where Orchestra is, such as https://orchestra.example. `token`: good below `prefix`."""

    url: str
    token: str
    prefix: str = "/api/v1/runner"

    def ask(self, method: str, path: str, body: Json = None, *, timeout: float = 20.0) -> Json:
        """The JSON answer to a JSON body. Raises Away, Said."""
        data = None if body is None else json.dumps(body).encode()
        return self._json(method, path, data, "application/json", timeout)

    def send(self, method: str, path: str, data: bytes | IO[bytes], kind: str, *, timeout: float = 300.0) -> Json:
        """The JSON answer to bytes. Raises Away, Said."""
        return self._json(method, path, data, kind, timeout)

    def fetch(self, path: str, into: IO[bytes], *, timeout: float = 300.0) -> None:
        """Raises Away, Said, OSError of the file."""
        connection = self._connection(timeout)
        try:
            answer = self._request(connection, "GET", path, None, "")
            _check(answer.status, b"" if answer.status == 200 else answer.read(MAX_ANSWER))
            while piece := _read(answer, 256 * 1024):
                into.write(piece)
        finally:
            connection.close()

    def _json(self, method: str, path: str, data: bytes | IO[bytes] | None, kind: str, timeout: float) -> Json:
        connection = self._connection(timeout)
        try:
            answer = self._request(connection, method, path, data, kind)
            content = _read(answer, MAX_ANSWER)
        finally:
            connection.close()
        _check(answer.status, content)
        try:
            return json.loads(content) if answer.status != 204 else None
        except ValueError as error:
            raise Away("The answer is no JSON; is this the address of Orchestra?") from error

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)

    def _request(
        self, connection: http.client.HTTPConnection, method: str, path: str, data: bytes | IO[bytes] | None, kind: str
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = kind
        if data is not None and not isinstance(data, bytes):
            headers["Content-Length"] = str(data.seek(0, 2))
            data.seek(0)
        try:
            connection.request(method, f"{urlsplit(self.url).path.rstrip('/')}{self.prefix}{path}", data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{type(error).__name__}: {error}") from error


def _read(answer: http.client.HTTPResponse, most: int) -> bytes:
    try:
        return answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise Away(f"{type(error).__name__}: {error}") from error


def _check(status: int, content: bytes) -> None:
    if status < 300:
        return
    if status >= 500 or status == 429:
        raise Away(f"Orchestra answered {status}.")
    try:
        error = json.loads(content)["error"]
        raise Said(status, str(error["code"]), str(error["message"]), error.get("details"))
    except (ValueError, KeyError, TypeError) as problem:
        raise Said(status, "unknown", "The answer is not Orchestra's.") from problem


def keep_trying(
    call: Callable[[], Json], *, stop: threading.Event, tell: Callable[[str], None], give_up: float = GIVE_UP
) -> Json:
    """What `call` gives once Orchestra can be reached. Raises Said, and Away after `stop` or `give_up` seconds."""
    end, pause = time.monotonic() + give_up, FIRST_PAUSE
    while True:
        try:
            return call()
        except Away as error:
            tell(str(error))
            if stop.wait(pause) or time.monotonic() > end:
                raise
            pause = min(LONGEST_PAUSE, pause * 2)


def part(text: str) -> str:
    """One part of an address."""
    return quote(text, safe="")
