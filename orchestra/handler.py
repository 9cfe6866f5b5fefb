"""Serves HTTP from a fixed pool of threads, each with a database connection it keeps.

Django's own ASGI handler gives every request a thread of its own, and with it a new database connection
(on SQLite: five pragmas) that nothing closes. Here a request is read on the event loop, answered by one
of `WEB_THREADS` threads with the plain synchronous stack, and sent from the loop again.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import DatabaseError, close_old_connections
from django.http import HttpResponseBase
from django.urls import set_script_prefix

from orchestra import spool
from resources.envelope import error_response, unexpected
from resources.errors import MalformedBody, OrchestraError, TooLarge

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from runs.incoming.replies import Later

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Body = bytes | IO[bytes]


class PooledHandler(BaseHandler):
    """An ASGI application for the scope `http`."""

    def __init__(self, threads: int) -> None:
        self.load_middleware(is_async=False)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="web")
        self._waiting = 0  # calls that wait for a later answer; touched on the event loop only

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        run = asyncio.get_running_loop().run_in_executor
        body: Body | OrchestraError | None
        if spool.may_be_large(scope):
            limit = await run(self._pool, self._limit, scope)
            body = limit if isinstance(limit, OrchestraError) else await read_large(receive, limit)
        else:
            body = await read_body(receive, settings.MAX_BODY_BYTES)
        if body is None:
            return  # the client left; there is nobody to answer
        try:
            response, content = await run(self._pool, self._respond, scope, body)
        finally:
            if not isinstance(body, bytes | OrchestraError):
                body.close()
        later = getattr(response, "later", None)
        if later is not None:
            response, content = await self._wait(later, receive) or (response, content)
        await send(_start(response))
        if content is not None:
            await send({"type": "http.response.body", "body": content})
            return
        await self._stream(response, send)

    async def _stream(self, response: Any, send: Send) -> None:
        """Piece by piece, each read when the client has taken the one before (orchestra.web); no thread waits."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            chunks: Iterator[bytes] = iter(response)
            while (chunk := await run(self._pool, next, chunks, None)) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        except ConnectionResetError:
            log.info("A client left before the end of what it asked for.")
        finally:
            await run(self._pool, response.close)

    async def _wait(self, later: Later, receive: Receive) -> tuple[HttpResponseBase, bytes] | None:
        """The later answer; None: its time is up, too many wait, or the client left. Takes no thread meanwhile."""
        if self._waiting >= settings.WAITING_CALLS:
            return None
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + later.seconds, 0.02
        gone = asyncio.ensure_future(receive())  # the next message of a request that was read is its end
        self._waiting += 1
        try:
            while not gone.done() and (left := end - loop.time()) > 0:
                await asyncio.wait({gone}, timeout=min(pause, left))
                found = await loop.run_in_executor(self._pool, self._ask, later)
                if found is not None:
                    return found
                pause = min(pause * 1.5, 0.3)
            return None
        finally:
            gone.cancel()
            self._waiting -= 1

    def _ask(self, later: Later) -> tuple[HttpResponseBase, bytes] | None:
        close_old_connections()
        try:
            found = later.poll()
        except Exception as error:  # noqa: BLE001  the outermost edge: logged under an id, told without its insides
            found = error_response(unexpected(error))
        return None if found is None else (found, found.content)

    def _limit(self, scope: Message) -> int | OrchestraError:
        """Bytes of body that this request may send; an error: it is answered before its body."""
        close_old_connections()
        try:
            return spool.limit(ASGIRequest(scope, io.BytesIO()))
        except OrchestraError as error:
            return error
        except (UnicodeDecodeError, DatabaseError):
            return 0

    def _respond(self, scope: Message, body: Body | OrchestraError) -> tuple[HttpResponseBase, bytes | None]:
        """The response and its bytes; None: it streams, and is closed when it has been sent."""
        response = self._answer(scope, body)
        response._handler_class = self.__class__
        if response.streaming:
            return response, None
        content: bytes = response.content
        response.close()  # request_finished, in the thread whose database connection was used
        return response, content

    def _answer(self, scope: Message, body: Body | OrchestraError) -> Any:
        if isinstance(body, OrchestraError):
            return error_response(body)
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = ASGIRequest(scope, io.BytesIO(body) if isinstance(body, bytes) else body)
        except UnicodeDecodeError:
            return error_response(MalformedBody("The address is not UTF-8."))
        return self.get_response(request)


async def read_large(receive: Receive, limit: int) -> IO[bytes] | TooLarge | None:
    """As `read_body`, into a file that the caller closes."""
    file, size = spool.new(), 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if message["type"] == "http.disconnect" or size > limit:
            file.close()
            return None if message["type"] == "http.disconnect" else _too_large(limit)
        await asyncio.to_thread(file.write, part)
        if not message.get("more_body", False):
            file.seek(0)
            return file


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"A body may have {limit} bytes.", hint="Send less, or a link to it.")


async def read_body(receive: Receive, limit: int) -> bytes | TooLarge | None:
    """The whole body, or TooLarge as soon as it is more than `limit` bytes, or None when the client left."""
    parts, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _start(response: HttpResponseBase) -> Message:
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.items()]
    cookies = [(b"Set-Cookie", c.output(header="").strip().encode("ascii")) for c in response.cookies.values()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers + cookies}
