"""Who listens to what in this process, and handing them their notices."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from django.db import DatabaseError

from runs.feed import follower, notices
from runs.feed.sources import Grants
from runs.feed.viewers import Viewer, Viewers

log = logging.getLogger(__name__)
PING_EVERY: Final = 20.0  # seconds
MOST_AT_ONCE: Final = 100  # notices of one topic in one batch; more become one "refresh"
_PING: Final = json.dumps({"type": "ping"})


class Socket(Protocol):
    viewer: Viewer

    def push(self, text: str) -> None: ...
    def drop(self, code: int) -> None: ...


class Hub:
    def __init__(self) -> None:
        self.viewers = Viewers()
        self._sockets: set[Socket] = set()
        self._topics: defaultdict[str, set[Socket]] = defaultdict(set)
        self._heard: dict[Socket, set[str]] = {}
        self._stop: Callable[[], None] | None = None
        self._pings: asyncio.Task[None] | None = None

    async def join(self, socket: Socket, timeout: float = 5.0) -> int | None:
        """The newest event id: all that commits later will be told. None: the database is away, try again later."""
        self._sockets.add(socket)
        if self._stop is None:
            self._stop = follower.subscribe(self.tell)
            self._pings = asyncio.create_task(self._ping(), name="feed-ping")
        one = follower.follower()
        one.add(self.tell)  # starts a follower that had died
        return one.last if await one.ready(timeout) else None

    def leave(self, socket: Socket) -> None:
        self.set_topics(socket, ())
        self._sockets.discard(socket)
        if not self._sockets and self._stop is not None:
            self._stop()
            self._stop = None
            if self._pings is not None:
                self._pings.cancel()

    def set_topics(self, socket: Socket, topics: Iterable[str]) -> None:
        """Tell this socket about these topics and no others."""
        wanted = set(topics) if socket in self._sockets else set()
        for topic in wanted:
            self._topics[topic].add(socket)
        for topic in self._heard.pop(socket, set()) - wanted:
            self._topics[topic].discard(socket)
            if not self._topics[topic]:
                del self._topics[topic]
        if wanted:
            self._heard[socket] = wanted

    async def tell(self, events: Iterable[notices.Event], grants: Grants) -> None:
        """Pass a batch on. When permissions cannot be read, everybody reconnects and fetches anew."""
        self.viewers.notice_grants(grants)
        told = [(t, e) for t, e in notices.coalesce(events) if t in self._topics]
        try:
            await self.viewers.refresh({s.viewer for topic, _ in told for s in self._topics.get(topic, ())})
        except DatabaseError as error:
            log.warning("The live feed could not read permissions: %s", error)
            self.drop_all(1012)
            return
        crowded = self._crowded(told)
        for topic, event in told:
            text = notices.refresh(topic) if (topic, event.folder) in crowded else notices.frame(topic, event)
            if crowded.get((topic, event.folder), True):
                self._send(topic, event.folder, text)
                await asyncio.sleep(0)  # requests come in between
            if (topic, event.folder) in crowded:
                crowded[topic, event.folder] = False

    @staticmethod
    def _crowded(told: list[tuple[str, notices.Event]]) -> dict[tuple[str, str], bool]:
        """(topic, folder) with too much to tell -> still to be told."""
        counted: defaultdict[tuple[str, str], int] = defaultdict(int)
        for topic, event in told:
            counted[topic, event.folder] += 1
        return {key: True for key, n in counted.items() if n > MOST_AT_ONCE}

    def _send(self, topic: str, folder: str, text: str) -> None:
        for socket in tuple(self._topics.get(topic, ())):
            if socket.viewer.sees(folder):
                socket.push(text)

    def drop_all(self, code: int) -> None:
        for socket in tuple(self._sockets):
            socket.drop(code)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_EVERY)
            for socket in tuple(self._sockets):
                socket.push(_PING)


hub = Hub()
