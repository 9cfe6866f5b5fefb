"""One task per process follows the history and tells its subscribers. Nobody subscribed: it stops and costs nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

from runs import bell
from runs.feed.gaps import GapCursor
from runs.feed.notices import Event
from runs.feed.sources import Grants, Source, errors, source_of_this_database

log = logging.getLogger(__name__)
Callback = Callable[[list[Event], Grants], Awaitable[None]]

TICK: Final = 0.01  # seconds between looks while events come; writers ring at most every 20 ms
HOT: Final = 0.1  # seconds of quick looks after an event or a ring
START_HOT: Final = 1.5  # writers look once a second who listens
GAP_TICK: Final = 0.05  # seconds between looks for missing ids
LINGER: Final = 10.0  # seconds of following on after the last subscriber left: pages reload
RECONNECT: Final = (0.2, 5.0)  # seconds, first and longest


class Follower:
    """`last` is the newest event id seen. Use the module's `subscribe`, one follower is enough."""

    def __init__(self) -> None:
        self._callbacks: set[Callback] = set()
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._woken = asyncio.Event()
        self._left_at = 0.0
        self._cursor: GapCursor | None = None

    @property
    def last(self) -> int:
        return self._cursor.last if self._cursor else 0

    def add(self, callback: Callback) -> None:
        self._callbacks.add(callback)
        self._woken.set()
        if self._task is None or self._task.done():
            self._cursor = None
            self._ready.clear()
            self._task = asyncio.create_task(self._run(), name="feed-follower")
            self._task.add_done_callback(_log_death)

    def remove(self, callback: Callback) -> None:
        self._callbacks.discard(callback)
        self._left_at = time.monotonic()

    async def ready(self, timeout: float) -> bool:
        """True once every later commit will be told; False when the database is not there in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    def _wanted(self) -> bool:
        return bool(self._callbacks) or time.monotonic() - self._left_at < LINGER

    async def _run(self) -> None:
        listener = bell.Listener(bell.EVENTS, str(os.getpid()))
        loop = asyncio.get_running_loop()
        loop.add_reader(listener.fileno(), self._rang, listener)
        pause = RECONNECT[0]
        try:
            while self._wanted():
                try:
                    await self._session()
                    pause = RECONNECT[0]
                except errors() as error:
                    log.warning("The live feed lost the database and tries again in %.1f s: %s", pause, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, RECONNECT[1])
        finally:
            loop.remove_reader(listener.fileno())
            listener.close()

    def _rang(self, listener: bell.Listener) -> None:
        listener.drain()
        self._woken.set()

    async def _session(self) -> None:
        """One connection's life. The cursor outlives it, so an outage only delays."""
        source = source_of_this_database()
        try:
            await source.open(self._woken.set)
            if self._cursor is None:
                self._cursor = await source.start()
            self._ready.set()
            await self._follow(source, self._cursor)
        finally:
            await source.close()

    async def _follow(self, source: Source, cursor: GapCursor) -> None:
        hot_until = time.monotonic() + START_HOT
        rang = True
        while self._wanted():
            more = False
            if await source.changed() or rang:
                events, more = await source.read(cursor)
                if events:
                    hot_until = time.monotonic() + HOT
                    await self._tell(events, await source.grants())
            if more:
                await asyncio.sleep(0)  # let the sockets write
                continue
            rang = await self._wait(self._pause(source, cursor, hot_until))
            if rang:
                hot_until = max(hot_until, time.monotonic() + HOT)

    @staticmethod
    def _pause(source: Source, cursor: GapCursor, hot_until: float) -> float:
        if time.monotonic() < hot_until:
            return TICK
        return min(source.slow, GAP_TICK) if cursor.missing else source.slow

    async def _wait(self, seconds: float) -> bool:
        """Until a bell rings or the time is up; True: it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _tell(self, events: list[Event], grants: Grants) -> None:
        for callback in tuple(self._callbacks):
            await callback(events, grants)


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("The live feed stopped; the next browser starts it again.", exc_info=task.exception())


_follower: Follower | None = None


def follower() -> Follower:
    """This process's one. Made in the event loop, at the first socket: daphne has no other moment for it."""
    global _follower
    if _follower is None:
        _follower = Follower()
    return _follower


def subscribe(callback: Callback) -> Callable[[], None]:
    """Have `callback(events, grants)` awaited with every batch of new events; answers how to stop it.

    Call it in the event loop. Events come at least once per subscription, in commit order as far as it is known.
    """
    one = follower()
    one.add(callback)
    return lambda: one.remove(callback)
