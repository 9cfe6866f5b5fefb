"""The outside as a real server on loopback: echoes, fails, drips, redirects, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Outside:
    """`url` of the server, `seen` requests in order; `over` is set when the test ends."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    outside: Outside


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.server.outside.seen.append(Seen(self.command, self.path, headers, body))
        url = urlsplit(self.path)
        name, _, rest = url.path.strip("/").partition("/")
        with contextlib.suppress(OSError):  # the client may be gone, which is what some tests are about
            getattr(self, f"_{name}", self._echo)(rest, {k: v[0] for k, v in parse_qs(url.query).items()})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _answer  # named by http.server

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"content-type": "application/json", **named}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self, rest: str, query: dict[str, str]) -> None:
        seen = self.server.outside.seen[-1]
        what = {"method": seen.method, "path": seen.path, "headers": seen.headers, "body": seen.body.decode()}
        self._send(200, json.dumps(what).encode(), set_cookie="session=1", etag='"e1"')

    def _status(self, rest: str, query: dict[str, str]) -> None:
        headers = {"retry_after": query["after"]} if "after" in query else {}
        seen = self.server.outside.seen[-1]
        self._send(int(rest), json.dumps({"error": "no", "you": seen.headers}).encode(), **headers)

    def _refuses(self, rest: str, query: dict[str, str]) -> None:
        """So many bytes, then what it was sent."""
        self._send(
            400, b"x" * int(rest) + self.headers["authorization"].split()[-1].encode(), content_type="text/plain"
        )

    def _text(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, query["body"].encode(), content_type=query.get("type", "text/plain"))

    def _bytes(self, rest: str, query: dict[str, str]) -> None:
        self._send(200, b"x" * int(rest), content_type="text/plain")

    def _file(self, rest: str, query: dict[str, str]) -> None:
        self._send(
            200, b"abc" * int(rest), content_type="text/csv", content_disposition='attachment; filename="../r.csv"'
        )

    def _list(self, rest: str, query: dict[str, str]) -> None:
        """Seven items, three a page; leads on in whatever way the step asks for."""
        start = int(query.get("offset") or query.get("after") or 3 * (int(query.get("page", 1)) - 1))
        items = list(range(7))[start : start + 3]
        more = start + 3 < 7
        page: dict[str, Any] = {"data": {"rows": items}}
        if more and "by" in query:
            page |= {"next": f"/list?by=next&after={start + 3}", "cursor": start + 3}
        headers = {"link": f'</list?after={start + 3}>; rel="next", </list>; rel="first"'} if more else {}
        self._send(200, json.dumps(page).encode(), **headers)

    def _job(self, rest: str, query: dict[str, str]) -> None:
        """Accepted, then not ready twice, then done."""
        asked = sum(seen.path.startswith("/job") for seen in self.server.outside.seen)
        headers = {"location": "/job/7", "retry_after": "0"} if asked == 1 else {"retry_after": "0"}
        self._send(202 if asked < 4 else 200, json.dumps({"asked": asked}).encode(), **headers)

    def _redirect(self, rest: str, query: dict[str, str]) -> None:
        self._send(int(query.get("status", "302")), location=query["to"])

    def _loop(self, rest: str, query: dict[str, str]) -> None:
        self._send(302, location="/loop")

    def _silent(self, rest: str, query: dict[str, str]) -> None:
        self.server.outside.over.wait(30)

    def _drip(self, rest: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        while not self.server.outside.over.wait(0.02):
            self.wfile.write(b"x")

    def _drop(self, rest: str, query: dict[str, str]) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: Any) -> None:
        """Tests have nothing to say on stderr."""


@contextlib.contextmanager
def serve() -> Iterator[Outside]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.outside = Outside(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.outside
    finally:
        server.outside.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
