"""WebSockets with back-pressure, and a short way for what many browsers are told alike.

To send one text, daphne and autobahn take a task, nine calls and a frame of its own: with 300 browsers that is most of
the way from a commit to the last of them. Here a text is framed once, and `post` writes it to a socket at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.tcp import Connection

from orchestra.web.gate import Gate

#: name of the ASGI extension: `post(text) -> bool`
POST: Final = "orchestra.post"


class Socket(WebSocketProtocol):  # type: ignore[misc]  # untyped
    gate: Gate | None = None
    _plain = False  # no TLS of ours between here and the wire

    def onOpen(self) -> None:
        super().onOpen()
        self._plain = isinstance(self.transport, Connection) and not self.transport.TLS
        self.gate = Gate()
        self.transport.unregisterProducer()  # the HTTP request it began as
        self.transport.registerProducer(self.gate, True)

    def post(self, text: str) -> bool:
        """Write it now. False, and nothing is written: the browser has yet to take what it was sent before."""
        if self.gate is None or not self.gate.open.is_set():
            return False
        if self.state == self.STATE_OPEN:
            self._write(framed(text))
        return True

    def _write(self, frame: bytes) -> None:
        """Where nothing waits before it, without a turn of the event loop that this browser alone would need."""
        wire = self.transport
        sent = wire.writeSomeData(frame) if self._plain and not (wire.dataBuffer or wire._tempDataBuffer) else 0
        rest = (
            frame[sent:] if isinstance(sent, int) else frame
        )  # an exception: the connection is lost; `write` sees to it
        if rest:
            wire.write(rest)

    async def taken(self) -> None:
        """The browser took enough of what was sent, or left."""
        if self.gate is not None:
            await self.gate.open.wait()


@lru_cache(maxsize=256)
def framed(text: str) -> bytes:
    """One unmasked, uncompressed text frame (RFC 6455, 5.2)."""
    data = text.encode()
    size = len(data)
    if size < 126:
        return bytes((0x81, size)) + data
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + data
    return b"\x81\x7f" + size.to_bytes(8, "big") + data


def offer(protocol: Any, scope: dict[str, Any]) -> None:
    """Tell the application of the short way."""
    if isinstance(protocol, Socket):
        scope["extensions"] = {**scope.get("extensions", {}), POST: protocol.post}
