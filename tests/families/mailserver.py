"""A real SMTP server on loopback: takes, refuses, greylists, asks for TLS and a password, and hangs up."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

PASSWORD = "Mail-s3cr3t-Passw0rd"


@dataclass
class Box:
    """What the server took. `says`: its answer to each message; "" hangs up. `refuses`: recipient -> its answer."""

    says: list[str] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    got: list[EmailMessage] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        parsed = BytesParser(policy=default).parsebytes(cast(bytes, envelope.content))
        self.got.append(parsed)
        self.to.append(list(envelope.rcpt_tos))
        said = self.says.pop(0) if self.says else "250 taken"
        if not said:
            server.transport.abort()
            return "421 bye"
        if said[0] != "2":
            self.got.pop()
        return said


def _lets_in(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
    ok = isinstance(given, LoginPassword) and given.password == PASSWORD.encode()
    return AuthResult(success=ok, handled=False)


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None, *, implicit: bool = False, auth: bool = False) -> Iterator[Box]:
    box = Box()
    more: dict[str, Any] = {"hostname": "127.0.0.1", "port": 0, "ready_timeout": 10.0}
    if implicit:
        more["ssl_context"] = context
    elif context is not None:
        more |= {"tls_context": context, "require_starttls": True}
    if auth:
        more |= {"authenticator": _lets_in, "auth_required": True, "auth_require_tls": not implicit}
    controller = _Controller(box, **more)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        self.port = self.handler.port = cast(Any, self.server).sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]
