"""A server on loopback that answers what a test puts there, and remembers what it was told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Outside:
    """`answers`: path -> JSON values, one a request, the last one repeated; `told`: (path, body) of each POST."""

    url: str
    answers: dict[str, list[Any]] = field(default_factory=dict)
    told: list[tuple[str, bytes]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    outside: Outside


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        values = self.server.outside.answers.get(urlsplit(self.path).path)
        if values is None:
            self._send(404, {"error": "unknown"})
        else:
            self._send(200, values.pop(0) if len(values) > 1 else values[0])

    def do_POST(self) -> None:
        self.server.outside.told.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self._send(202, {})

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
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
        server.shutdown()
        server.server_close()
        thread.join()
