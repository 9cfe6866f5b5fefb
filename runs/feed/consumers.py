"""/ws/live: a browser names topics, the server says "this changed". Never HTML, never data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db.models import F

from flows.models import Flow
from runs.feed import notices
from runs.feed.hub import hub
from runs.feed.viewers import Viewer, in_database
from runs.models import Run, RunEvent

MOST_TOPICS: Final = 100
MOST_BYTES: Final = 16 * 1024  # of a message from a browser
OUTBOX: Final = 256  # notices waiting for a browser that reads slowly
REPLAY: Final = 500  # missed events told one by one
NOT_SIGNED_IN: Final = 4401
TOO_SLOW: Final = 4408
BAD_MESSAGE: Final = 4400
TRY_LATER: Final = 1013


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    channel_layer_alias = ""  # notices come from the event table: no layer, no Redis
    viewer: Viewer

    async def connect(self) -> None:
        await self.accept()  # a refusal before it would hide the code from the browser
        self.outbox: asyncio.Queue[str] = asyncio.Queue(OUTBOX)
        self.sender: asyncio.Task[None] | None = None
        self.post: Callable[[str], bool] | None = self.scope.get("extensions", {}).get("orchestra.post")
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        self.viewer = hub.viewers.get(user.pk)
        last = await hub.join(self)
        if last is None:
            await self.close(TRY_LATER)
            return
        await self._say({"type": "hello", "id": last})
        self.sender = asyncio.create_task(self._send_on(), name="feed-socket")

    async def disconnect(self, code: int) -> None:
        hub.leave(self)
        if self.sender is not None:
            self.sender.cancel()

    # -- from the browser ------------------------------------------------------------------------------------
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """{"subscribe": [topics], "after": id?}: the whole list each time, it replaces what was there."""
        if self.sender is None:
            return  # being closed
        message = _parse(text_data)
        if message is None:
            self.drop(BAD_MESSAGE)
            return
        if "subscribe" in message:
            await self._subscribe(_names(message["subscribe"]), message.get("after"))

    async def _subscribe(self, wanted: list[str], after: Any) -> None:
        await hub.viewers.refresh([self.viewer])
        allowed = await in_database(lambda: [t for t in wanted if _may(self.viewer, t)])
        hub.set_topics(self, allowed)
        refused = [t for t in wanted if t not in allowed]
        await self._say({"type": "subscribed", "subscribed": allowed, "refused": refused})
        if isinstance(after, int) and not isinstance(after, bool) and 0 <= after < 2**63:
            await self._replay(set(allowed), after)

    async def _replay(self, topics: set[str], after: int) -> None:
        """What was missed since event `after`; the subscription is on already, so some may come twice."""
        missed = await in_database(lambda: _events_after(after))
        if len(missed) > REPLAY:
            for topic in topics:
                self.push(notices.refresh(topic))
            return
        for topic, event in notices.coalesce(missed):
            if topic in topics and self.viewer.sees(event.folder):
                self.push(notices.frame(topic, event))

    # -- to the browser --------------------------------------------------------------------------------------
    def push(self, text: str) -> None:
        """Send a notice, or queue it behind what the browser has yet to take; one that does not keep up is dropped, and
        fetches everything when it comes back.
        """
        if self.post is not None and self.outbox.empty() and self.post(text):
            return
        try:
            self.outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.drop(TOO_SLOW)

    def drop(self, code: int) -> None:
        hub.leave(self)
        if self.sender is not None:
            self.sender.cancel()
            self.sender = asyncio.create_task(self.close(code), name="feed-drop")

    async def _send_on(self) -> None:
        while True:
            await self.send(text_data=await self.outbox.get())

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(message))


def _parse(text: str | None) -> dict[str, Any] | None:
    if text is None or len(text) > MOST_BYTES:
        return None
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _names(value: Any) -> list[str]:
    """Topics of a message: strings, each once, not more than a socket may have."""
    if not isinstance(value, list):
        return []
    return list(dict.fromkeys(v for v in value if isinstance(v, str) and len(v) <= 100))[:MOST_TOPICS]


def _may(viewer: Viewer, topic: str) -> bool:
    """Unknown and forbidden look the same from outside."""
    kind, _, name = topic.partition(":")
    if topic in ("runs", "inbox"):
        return True  # every notice on it is checked by its folder
    folders: Any = []
    if kind == "run":
        folders = Run.objects.filter(pk=name).values_list("flow__folder", flat=True)
    elif kind == "flow":
        folders = Flow.objects.filter(slug=name).values_list("folder", flat=True)
    return any(viewer.sees(folder) for folder in folders)


def _events_after(after: int) -> list[notices.Event]:
    rows = (
        RunEvent.objects.filter(pk__gt=after)
        .annotate(slug=F("run__flow__slug"), folder=F("run__flow__folder"))
        .order_by("pk")
        .values_list("pk", "run_id", "seq", "type", "step", "item", "at", "slug", "folder")
    )
    return [notices.Event(*row) for row in rows[: REPLAY + 1]]


class Nowhere(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Any other address: refused quietly instead of with a traceback."""

    channel_layer_alias = ""

    async def connect(self) -> None:
        await self.close()
