"""A request's body on its way from the socket to the application, which sets the pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

#: bytes that may wait here before the socket is read no further
MOST: Final = 256 * 1024


class Inbox:
    """What `receive` of an ASGI application gives. Used on the event loop only."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = self._told = self._gone = False
        self._news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST:
            self._pause()
        self._news.set()

    def end(self) -> None:
        """All of the body is here."""
        self._ended = True
        self._news.set()

    def put_nowait(self, message: dict[str, Any]) -> None:
        """What daphne puts into its queue: the end of the connection counts, the body comes by `feed`."""
        if message["type"] == "http.disconnect":
            self._gone = True
            self._news.set()

    async def get(self) -> dict[str, Any]:
        """The next message of the ASGI protocol."""
        while not self._gone and not self._parts and (self._told or not self._ended):
            self._news.clear()
            await self._news.wait()
        if self._gone:
            return {"type": "http.disconnect"}
        body, self._parts = b"".join(self._parts), []
        if self._size > MOST:
            self._resume()
        self._size, self._told = 0, self._ended
        return {"type": "http.request", "body": body, "more_body": not self._ended}
