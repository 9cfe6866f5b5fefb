"""daphne with back-pressure both ways.

daphne itself takes in a whole body before the application sees any of it, and then hands it over as a queue in memory;
and it takes every piece of an answer at once, however slowly the client reads. Here large bodies reach the application
as they arrive, and are read no faster than it takes them; and `send` returns when the client has taken what was sent.
"""

from __future__ import annotations

import asyncio
import io
from functools import partial
from typing import Any, Final

from daphne.server import Server  # isort: skip  first: it chooses the reactor
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HttpRequest

from orchestra.web.gate import Gate
from orchestra.web.inbox import Inbox
from orchestra.web.sockets import Socket, offer

#: bytes; smaller bodies are read whole first, as daphne does
SMALL: Final = 64 * 1024
#: seconds a client may take nothing of an answer
STALLED: Final = 120.0
#: what is still read, and thrown away, of a body that was answered before its end, so that its sender sees the answer
REST_BYTES: Final = 64 * 1024 * 1024
REST_SECONDS: Final = 15.0


class Request(WebRequest):  # type: ignore[misc]  # untyped
    """One request. `inbox`: where its body goes when it is not small."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Django reads forms; twisted would put a whole file into memory to do it, too
        super().__init__(*args, **{**kwargs, "parsePOSTFormSubmission": False})
        self.inbox: Inbox | None = None
        self.gate: Gate | None = None
        self._whole = self._answered = False
        self._rest = 0
        self._cut: asyncio.TimerHandle | None = None

    # -- the body ---------------------------------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        """The headers are here. `length`: of the body; None: it says itself where it ends."""
        upgrade = self.requestHeaders.hasHeader(b"Upgrade")
        if upgrade or not isinstance(self.channel, HTTPChannel) or (length is not None and length <= SMALL):
            super().gotLength(length)
            return
        line: Any = self.channel  # where twisted keeps the request's first line until the body's end
        self.method, self.uri, self.clientproto = line._command, line._path, line._version
        self.content, self.path = io.BytesIO(), self.uri.split(b"?", 1)[0]
        self.inbox = Inbox(self.transport.pauseProducing, self.transport.resumeProducing)
        self.process()

    def handleContentChunk(self, data: bytes) -> None:
        if self.inbox is None:
            super().handleContentChunk(data)
        elif not self._answered:
            self.inbox.feed(data)
        else:
            self._rest += len(data)
            if self._rest > REST_BYTES:
                self.transport.abortConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self._whole = True
        if self.inbox is None:
            super().requestReceived(command, path, version)
        elif self._answered:
            self._stop_waiting()
            HttpRequest.finish(self)  # type: ignore[no-untyped-call]
        else:
            self.inbox.end()

    # -- the answer -------------------------------------------------------------------------------------------

    def handle_reply(self, message: dict[str, Any]) -> None:
        if self._answered:
            return
        more = message.get("type") == "http.response.body" and message.get("more_body")
        if more and self.gate is None and not self.finished and self.channel is not None:
            self.gate = Gate()
            self.registerProducer(self.gate, True)
        super().handle_reply(message)

    async def taken(self) -> None:
        """The client took enough of what was sent. Raises ConnectionResetError when it left, or takes nothing more."""
        try:
            if self.gate is not None:
                await asyncio.wait_for(self.gate.open.wait(), STALLED)
        except TimeoutError as error:
            self.transport.abortConnection()
            raise ConnectionResetError("The client takes nothing more.") from error
        if self._disconnected or self.channel is None:
            raise ConnectionResetError("The client left.")

    def finish(self) -> None:
        """The answer is complete. What is missing of the body is awaited: the next request comes behind it."""
        if self.gate is not None:
            self.unregisterProducer()
        if self.inbox is None or self._whole:
            super().finish()
            return
        self._answered = True
        self._cut = asyncio.get_running_loop().call_later(REST_SECONDS, self.transport.abortConnection)
        self.send_disconnect()
        self.server.protocol_disconnected(self)
        self.transport.resumeProducing()

    def connectionLost(self, reason: Any) -> None:
        self._stop_waiting()
        super().connectionLost(reason)
        if self.gate is not None:
            self.gate.stopProducing()

    def _stop_waiting(self) -> None:
        if self._cut is not None:
            self._cut.cancel()


class Factory(HTTPFactory):  # type: ignore[misc]  # untyped
    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class BackPressure(Server):  # type: ignore[misc]  # untyped
    """daphne's server, with our requests and sockets."""

    @property  # daphne's `run` sets its own
    def http_factory(self) -> Factory:
        return self._factory

    @http_factory.setter
    def http_factory(self, _theirs: HTTPFactory) -> None:
        self._factory = Factory(self)

    @property
    def ws_factory(self) -> Any:
        return self._ws_factory

    @ws_factory.setter
    def ws_factory(self, theirs: Any) -> None:
        theirs.protocol = Socket
        self._ws_factory = theirs

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        offer(protocol, scope)
        inbox = getattr(protocol, "inbox", None)
        if inbox is None:
            return super().create_application(protocol, scope)
        scope.setdefault("asgi", {"version": "3.0"})
        answering = self.application(scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(answering)
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if isinstance(protocol, Socket) or (isinstance(protocol, Request) and message.get("more_body")):
            await protocol.taken()

    def protocol_disconnected(self, protocol: Any) -> None:
        if protocol in self.connections:
            super().protocol_disconnected(protocol)


class Command(CommandLineInterface):  # type: ignore[misc]  # untyped
    server_class = BackPressure
