"""E-mail through one server: to a checked address, within a total time, with every reply bounded.

What matters is the moment after which the server may have the message: a connection that breaks before it sent
nothing, one that breaks after it leaves an unknown outcome, which is never repeated by itself.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpcore2

from resources import secrets
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.notify import SmtpSettings
from resources.network import GuardedBackend, networks, total_time
from resources.not_sent import NotSent
from resources.stop import Stop

_MAX_REPLY = 64 * 1024
_SAID = 200  # characters of a reply that are shown


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Settings with the value of their secret."""

    settings: SmtpSettings
    password: str = ""

    @property
    def place(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One recipient that the server did not take: `later`, it may take it another time."""

    to: str
    said: str
    later: bool


def access_of(ref: ConnectionRef) -> Access:
    """Reads the secret. Raises NotFound, crypto.CannotDecrypt."""
    settings = ref.settings
    assert isinstance(settings, SmtpSettings)  # noqa: S101  its kind says so
    return Access(settings, secrets.reveal(settings.password) if settings.password else "")


class _Replies:
    """A reader of replies that refuses to read more than one of a sensible size."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = _MAX_REPLY

    def readline(self, limit: int = -1) -> bytes:
        line = cast(bytes, self._file.readline(limit))
        self.left -= len(line)
        if self.left < 0:
            raise smtplib.SMTPServerDisconnected(f"a reply of more than {_MAX_REPLY} bytes")
        return line

    def close(self) -> None:
        self._file.close()


class _Client(smtplib.SMTP):
    def __init__(self, access: Access, sock: socket.socket) -> None:
        self.given = sock
        super().__init__(local_hostname="orchestra.invalid")
        self._host = access.settings.host  # what TLS checks the name of

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self.given

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            self.file = _Replies(self.sock.makefile("rb"))  # type: ignore[union-attr]
        self.file.left = _MAX_REPLY
        return super().getreply()


def send(
    access: Access,
    sender: str,
    recipients: Sequence[str],
    data: bytes,
    *,
    seconds: float,
    stop: Stop,
    handed: Callable[[], None] = lambda: None,
) -> list[Refusal]:
    """Hand the message to the server; who of the recipients was refused. Raises NotSent when nobody gets it.

    `handed` is called right before the server may have it, and may raise to keep it here.
    """
    with session(access, seconds=seconds, stop=stop) as client:
        _expect(client.mail(sender), (250,), f"{access.place} does not take mail from {sender}")
        refused = [r for to in recipients if (r := _offer(client, to)) is not None]
        if len(refused) == len(recipients):
            later = any(r.later for r in refused)
            said = f"{access.place} refused every recipient: {refused[0].said}"
            raise NotSent("rate_limited" if later else "refused", said, again=later)
        _expect(client.docmd("DATA"), (354,), f"{access.place} does not take the message")
        handed()
        _hand_over(access, client, data)
        with contextlib.suppress(OSError, smtplib.SMTPException):  # it has the message, whatever it says to this
            client.putcmd("QUIT")
        return refused


def _offer(client: smtplib.SMTP, to: str) -> Refusal | None:
    code, said = client.rcpt(to)
    return None if code in (250, 251, 252) else Refusal(to, _shown(code, said), 400 <= code < 500 or code == 552)


def _hand_over(access: Access, client: smtplib.SMTP, data: bytes) -> None:
    quoted = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))
    try:
        client.send(quoted.removesuffix(b"\r\n") + b"\r\n.\r\n")
        reply = client.getreply()
    except (smtplib.SMTPException, OSError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        said = f"{access.place}: the connection ended after the message was handed over, before the server had said yes"
        raise NotSent("network", f"{said}: whether it was sent is unknown.", again=True, unknown=True) from error
    _expect(reply, (250,), f"{access.place} does not take the message")


def _expect(reply: tuple[int, bytes], codes: tuple[int, ...], said: str) -> None:
    code, text = reply
    if code not in codes:
        later = 400 <= code < 500
        raise NotSent("rate_limited" if later else "refused", f"{said}: {_shown(code, text)}", again=later)


def _shown(code: int, said: bytes) -> str:
    text = " ".join(said.decode("utf-8", "replace").split())
    return f"{code} {''.join(c for c in text if c.isprintable())[:_SAID]}"


@contextlib.contextmanager
def session(access: Access, *, seconds: float, stop: Stop) -> Iterator[smtplib.SMTP]:
    """Greeted, encrypted and signed in as the settings say. Raises NotSent: nothing was sent."""
    sock = _dial(access, seconds, stop)
    twin = sock.dup()  # ends the connection whatever wraps the first
    over = threading.Event()  # says so before the connection ends: who waits on it wakes up at once

    def end() -> None:
        over.set()
        twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, lambda: _quietly(end))
    timer.daemon = True
    timer.start()
    client = _Client(access, sock)
    try:
        with stop.on_stop(end):
            _open(access, client)
            yield client
    except (smtplib.SMTPException, OSError) as error:
        late = over.is_set() or _timed_out(error)
        cls, why = ("timeout", f"there was no answer within {seconds:.0f} s") if late else ("connect", _words(error))
        raise NotSent(cls, f"{access.place}: {why}. Nothing was sent.", again=True) from error
    finally:
        timer.cancel()
        for one in (client, client.given, sock, twin):
            one.close()


def _timed_out(error: BaseException) -> bool:
    """The socket's own timeout may be first; smtplib then speaks of a connection that was closed."""
    return isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)


def _quietly(end: Any) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        end()


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return _shown(error.smtp_code, said if isinstance(said, bytes) else str(said).encode())
    return " ".join(str(error).split())[:_SAID] or type(error).__name__


def _dial(access: Access, seconds: float, stop: Stop) -> socket.socket:
    settings = access.settings
    try:
        with total_time(seconds, stop):
            stream = GuardedBackend(networks(settings.allow_networks)).connect_tcp(
                settings.host, settings.port, min(seconds, 10.0)
            )
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
        raise NotSent("connect", f"{access.place} could not be reached: {error}", again=True) from error
    except OrchestraError as error:
        raise NotSent("refused", f"{error.message} {error.hint}".strip()) from error
    sock = cast(socket.socket, stream.get_extra_info("socket"))
    sock.settimeout(max(seconds, 0.05))
    return sock


def _open(access: Access, client: _Client) -> None:
    settings = access.settings
    try:
        if settings.tls == "implicit":
            client.given = _context(settings).wrap_socket(client.given, server_hostname=settings.host)
        _expect(client.connect(settings.host, settings.port), (220,), f"{access.place} does not greet")
        if settings.tls == "starttls":
            _expect(client.ehlo(), (250,), f"{access.place} does not speak SMTP as it should")
            if not client.has_extn("starttls"):
                raise NotSent("refused", f"{access.place} offers no STARTTLS, so nothing was sent to it in clear.")
            client.starttls(context=_context(settings))
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message or str(error)
        hint = "Look at `host`, which must be a name in it, and at `ca_certificates`, who signed it."
        raise NotSent(
            "refused", f"{access.place} has a certificate that is not trusted: {reason.rstrip('.')}. {hint}"
        ) from error
    _expect(client.ehlo(), (250,), f"{access.place} does not speak SMTP as it should")
    _sign_in(access, client)


def _sign_in(access: Access, client: smtplib.SMTP) -> None:
    if not access.password:
        return
    try:
        client.login(access.settings.username, access.password)
    except smtplib.SMTPAuthenticationError as error:
        later = 400 <= error.smtp_code < 500
        said = f"{access.place} did not let {access.settings.username} in ({error.smtp_code}). Look at the secret."
        raise NotSent("rate_limited" if later else "refused", said, again=later) from error
    except smtplib.SMTPNotSupportedError as error:
        raise NotSent("refused", f"{access.place} lets nobody sign in by a password.") from error
    except (ValueError, UnicodeError) as error:
        raise NotSent("refused", f"The user name or the password of {access.place} is not ASCII.") from error


def _context(settings: SmtpSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=settings.ca_certificates or None)
