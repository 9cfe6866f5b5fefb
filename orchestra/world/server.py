"""The demo world's routes on one event loop: a ledger, a board of knobs, callbacks that come later."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from orchestra.world.callbacks import Callbacks
from orchestra.world.knobs import Board, Fate, KnobError, parse_board
from orchestra.world.ledger import KINDS, PLAIN, Ledger
from orchestra.world.page import STYLE, page
from orchestra.world.wire import MAX_HEAD, Request, Response, WireError, json_response, problem, read_request

ALL_KINDS = (*KINDS, *(PLAIN + kind for kind in KINDS))
#: path -> kind; the plain twins ignore the key, so that a second effect shows
PATHS = {**{f"/{kind}": kind for kind in KINDS}, **{f"/plain/{kind}": PLAIN + kind for kind in KINDS}}
MAX_KEY = 255
LINGER_SECONDS = 2.0


@dataclass(slots=True)
class Load:
    """Requests of one kind under way: now, and the most there ever were at a time."""

    now: int = 0
    most: int = 0

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1


class World:
    """Serves HTTP on loopback. `ledger` holds what happened; it is written before each answer."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.board = Board()
        self.callbacks = Callbacks()
        self.load: dict[str, Load] = defaultdict(Load)
        self.routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): lambda request: Response(page(self.ledger.rows()), type="text/html; charset=utf-8"),
            ("GET", "/style.css"): lambda request: Response(STYLE, type="text/css; charset=utf-8"),
            ("GET", "/healthz"): lambda request: json_response({"ok": True}),
            ("GET", "/load"): lambda request: json_response({kind: asdict(load) for kind, load in self.load.items()}),
            ("GET", "/effects"): lambda request: json_response(self.ledger.rows()),
            ("DELETE", "/effects"): self.clear,
            ("GET", "/knobs"): lambda request: json_response(self.board.as_json()),
            ("PUT", "/knobs"): self.turn_knobs,
            ("POST", "/callback-later"): self.call_back,
        }

    def clear(self, request: Request) -> Response:
        self.ledger.clear()
        for load in self.load.values():
            load.most = load.now
        return Response(status=204)

    def turn_knobs(self, request: Request) -> Response:
        self.board = parse_board(request.json(), ALL_KINDS)
        return json_response(self.board.as_json())

    def call_back(self, request: Request) -> Response:
        return json_response({"ok": True, "calls": self.callbacks.plan(request.json())}, 202)

    def status(self, kind: str, request: Request) -> Response:
        """With `?service=X` what runs there since its last deploy; null before the first."""
        found: dict[str, object] = {"kind": kind, "latest": self.ledger.latest.get(kind)}
        if service := request.query.get("service"):
            found |= {"service": service, "running": self.ledger.deployed.get(service)}
        return json_response(found)

    async def act(self, kind: str, request: Request) -> Response:
        """One request to an endpoint with effects. The effect is immediate; only the answer is delayed."""
        key = request.headers.get("idempotency-key", "")
        if len(key) > MAX_KEY:
            raise WireError(400, f"Idempotency-Key is over {MAX_KEY} characters.")
        load = self.load[kind]
        fate = self.board.fate(kind, request.query, load.now)
        body = request.json()
        if fate.full:
            self.ledger.refuse(kind, key)
            return json_response({"error": {"code": "too_many", "message": "Too many."}}, 429, Retry_After="1")
        with load.one_more():
            return await self._take_effect(kind, key, body, fate)

    async def _take_effect(self, kind: str, key: str, body: object, fate: Fate) -> Response:
        if fate.error:
            self.ledger.refuse(kind, key)
            await asyncio.sleep(fate.delay_s)
            return problem(503, "The demo world's error knob refused this; nothing took effect.")
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        outcome = self.ledger.apply(kind, key, body, at)
        if fate.duplicate:
            self.ledger.apply(kind, key, body, at)
        if fate.delay_s:
            await asyncio.sleep(fate.delay_s)
        if fate.drop:
            return Response(dropped=True)
        return json_response(outcome.answer, Idempotency_Replayed=str(outcome.replayed).lower())

    async def answer(self, request: Request) -> Response:
        kind = PATHS.get(request.path)
        try:
            if kind is not None and request.method == "POST":
                return await self.act(kind, request)
            if kind is not None and request.method == "GET" and kind.endswith("status"):
                return self.status(kind, request)
            route = self.routes.get((request.method, request.path))
            if route is not None:
                return route(request)
        except KnobError as error:
            raise WireError(400, str(error)) from error
        known = kind is not None or any(path == request.path for _, path in self.routes)
        return problem(405 if known else 404, f"The demo world has no {request.method} {request.path}.")

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # the other side went away: nobody is left to tell
            try:
                while await self._serve_one(reader, writer):
                    pass
            except WireError as error:
                writer.write(problem(error.status, str(error)).encode(keep=False))
                await writer.drain()
                await linger(reader)
            finally:
                writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await read_request(reader)
        if request is None:
            return False
        response = await self.answer(request)
        if response.dropped:
            return False
        keep = request.headers.get("connection", "").lower() != "close"
        writer.write(response.encode(keep=keep))
        await writer.drain()
        return keep

    async def listen(self, port: int) -> asyncio.Server:
        """Bind loopback (port 0: any free one). Raises OSError when the port is taken."""
        return await asyncio.start_server(self.serve_connection, "127.0.0.1", port, limit=MAX_HEAD, backlog=512)


async def linger(reader: asyncio.StreamReader) -> None:
    """Swallow what the other side is still sending: closing over it would reset the answer away."""
    end = asyncio.get_running_loop().time() + LINGER_SECONDS
    with contextlib.suppress(TimeoutError):
        while (left := end - asyncio.get_running_loop().time()) > 0:
            if not await asyncio.wait_for(reader.read(65536), left):
                return
