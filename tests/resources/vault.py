"""A Vault on loopback: the KV version 2 engine and AppRole, with the statuses and bodies of the true one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CREATED = "2026-01-31T08:00:00.123456789Z"
Reply = tuple[int, Any]


@dataclass
class Version:
    data: dict[str, Any]
    deletion_time: str = ""
    destroyed: bool = False


@dataclass
class FakeVault:
    """`tokens`: token -> path prefixes it may read. Behaviour is changed by its attributes while it runs."""

    address: str = ""
    sealed: bool = False
    standby: bool = False
    namespace: str = ""
    tokens: dict[str, list[str]] = field(default_factory=lambda: {"root-token": ["secret/"]})
    kv: dict[str, list[Version]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    lease: int = 3600
    logins: int = 0
    reads: int = 0
    drip: float = 0.0
    raw: tuple[int, bytes] | None = None

    def put(self, path: str, **data: Any) -> None:
        self.kv.setdefault(path, []).append(Version(data))

    def reply(self, method: str, target: str, headers: Any, body: bytes) -> Reply:
        parts = urlsplit(target)
        path = unquote(parts.path).removeprefix("/v1/")
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if self.standby:
            return 473, {"errors": ["performance standby"]}
        if self.namespace and headers.get("x-vault-namespace") != self.namespace:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("auth/"):
            return (
                self._login(path, json.loads(body))
                if method == "POST"
                else (405, {"errors": ["unsupported operation"]})
            )
        return self._read(path, parse_qs(parts.query), headers.get("x-vault-token", ""))

    def _login(self, path: str, sent: dict[str, Any]) -> Reply:
        self.logins += 1
        if path != "auth/approle/login" or self.roles.get(sent.get("role_id", "")) != sent.get("secret_id"):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.role-token-{self.logins}"
        self.tokens[token] = ["secret/"]
        auth = {"client_token": token, "accessor": "x", "policies": ["default"], "lease_duration": self.lease,
                "renewable": True, "token_type": "service"}  # fmt: skip
        return 200, {
            "request_id": "1",
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "data": None,
            "auth": auth,
        }

    def _read(self, path: str, query: dict[str, list[str]], token: str) -> Reply:
        self.reads += 1
        mount, _, rest = path.partition("/data/")
        if not any(f"{mount}/{rest}".startswith(prefix) for prefix in self.tokens.get(token, [])):
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        versions = self.kv.get(f"{mount}/{rest}", [])
        number = int(query.get("version", [str(len(versions))])[0])
        if not 1 <= number <= len(versions):
            return 404, {"errors": []}
        found = versions[number - 1]
        gone = found.destroyed or bool(found.deletion_time)
        metadata = {"created_time": CREATED, "custom_metadata": None, "deletion_time": found.deletion_time,
                    "destroyed": found.destroyed, "version": number}  # fmt: skip
        data = {"data": None if gone else found.data, "metadata": metadata}
        return 404 if gone else 200, {"request_id": "2", "lease_id": "", "renewable": False, "lease_duration": 0,
                                      "data": data, "wrap_info": None, "warnings": None, "auth": None}  # fmt: skip


@contextmanager
def fake_vault() -> Iterator[FakeVault]:
    vault = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, reply = vault.reply(self.command, self.path, self.headers, sent)
            body = json.dumps(reply).encode()
            if vault.raw is not None:
                status, body = vault.raw
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://localhost.example:1{self.path}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for byte in body if vault.drip else ():
                time.sleep(vault.drip)
                self.wfile.write(bytes([byte]))
            self.wfile.write(b"" if vault.drip else body)

        def handle(self) -> None:
            with suppress(ConnectionError, TimeoutError):  # the client had enough
                super().handle()

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vault.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield vault
    finally:
        server.shutdown()
        server.server_close()
