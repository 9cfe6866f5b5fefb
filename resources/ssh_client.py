"""Connections by SSH: to a checked address, with a checked host key, with keys that are in memory only.

asyncssh needs an event loop: `in_loop` gives a coroutine one of its own, in a thread of its own that ends with it, so
that nothing of it lives across a fork and the calling thread may use the database.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpcore2

from resources import secrets
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.ssh import SshSettings, is_fingerprint, key_of, known_lines
from resources.network import GuardedBackend, networks, total_time
from resources.stop import Stop

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")
_LINE_OF_KEY = 32  # characters of a line of a private key that are a secret by themselves
_ALIVE = 3  # signs of life that may stay unanswered


class SshRefused(OrchestraError):
    """The server or we said no: another host key, the account, the algorithms. Nothing was run."""

    code = "ssh_refused"
    status = 502


class SshUnreachable(OrchestraError):
    """The server did not get as far as letting us in. Nothing was run."""

    code = "ssh_unreachable"
    status = 502


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Settings with the values of their secrets."""

    settings: SshSettings
    key: str = ""
    passphrase: str = ""
    password: str = ""

    @property
    def secrets(self) -> list[str]:
        """What must be masked: also the lines of the key, which a file may show one by one."""
        lines = [line for line in self.key.splitlines() if len(line) >= _LINE_OF_KEY]
        return [value for value in (self.key, *lines, self.passphrase, self.password) if value]

    @property
    def place(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"


def access_of(ref: ConnectionRef) -> Access:
    """Reads the secrets. Raises NotFound and crypto.CannotDecrypt, and SshRefused for another kind of connection."""
    settings = ref.settings
    if not isinstance(settings, SshSettings):
        raise SshRefused(f"The connection {ref.name} is not an ssh connection.")
    names = (settings.key_secret, settings.passphrase_secret, settings.password_secret)
    return Access(settings, *(secrets.reveal(name) if name else "" for name in names))


def dial(access: Access, *, timeout: float, stop: Stop | None = None) -> socket.socket:
    """A socket to an address that the connection allows, from one resolution. Raises AddressRefused, SshUnreachable."""
    settings = access.settings
    try:
        with total_time(timeout, stop):
            stream = GuardedBackend(networks(settings.allow_networks)).connect_tcp(
                settings.host, settings.port, timeout
            )
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
        raise SshUnreachable(f"{access.place} could not be reached: {error}") from error
    sock = cast(socket.socket, stream.get_extra_info("socket"))
    sock.settimeout(None)
    return sock


def in_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine returns or raises. It must end by itself: nobody cancels it."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(asyncio.run(make()))
        except BaseException as error:  # noqa: BLE001  handed to whoever waits, which raises it
            result.set_exception(error)

    threading.Thread(target=run, daemon=True, name="ssh").start()
    return result.result()


async def connect(access: Access, sock: socket.socket, *, timeout: float) -> asyncssh.SSHClientConnection:
    """Let in, within `timeout` seconds. Closes `sock` where it raises SshRefused or SshUnreachable."""
    import asyncssh

    try:
        options = _options(access, timeout)
        seen: list[Exception] = []
        client = _client_class(access.settings, seen)
        async with asyncio.timeout(timeout):
            return await asyncssh.connect(
                access.settings.host, access.settings.port, sock=sock, client_factory=client, **options
            )
    except (asyncssh.Error, OSError, ValueError, TimeoutError) as error:
        sock.close()
        raise (seen[0] if seen else _said(error, access, timeout)) from error
    except SshRefused:
        sock.close()
        raise


def _options(access: Access, timeout: float) -> dict[str, Any]:
    """Nothing is read from this machine: no configuration, no agent, no key, no list of known hosts."""
    settings = access.settings
    return {
        "config": None,
        "agent_path": None,
        "agent_forwarding": False,
        "gss_host": None,
        "known_hosts": lambda host, addr, port: ([], [], []),  # every key is shown to the client class
        "server_host_key_algs": _algorithms(settings),
        "username": settings.username,
        "client_keys": [_private_key(access)] if access.key else None,
        "password": access.password or None,
        "preferred_auth": [*(["publickey"] if access.key else []), *(["password"] if access.password else [])],
        "login_timeout": timeout,
        "keepalive_interval": settings.keepalive,
        "keepalive_count_max": _ALIVE,
    }


def _private_key(access: Access) -> Any:
    import asyncssh

    name = access.settings.key_secret
    try:
        return asyncssh.import_private_key(access.key.strip() + "\n", access.passphrase or None)
    except asyncssh.KeyEncryptionError as error:
        raise SshRefused(f"The private key in the secret {name} does not open with its passphrase.") from error
    except (asyncssh.KeyImportError, ValueError) as error:
        raise SshRefused(f"The secret {name} holds no private key that can be read: {error}") from error


def _algorithms(settings: SshSettings) -> list[str]:
    """Those of the known keys first, so that a server with several shows the one we know; then all others."""
    import asyncssh
    from asyncssh.public_key import get_default_public_key_algs

    known = [alg for key in _known(settings)[0] for alg in asyncssh.import_public_key(key).sig_algorithms]
    return [alg.decode() for alg in dict.fromkeys([*known, *get_default_public_key_algs()])]


def _known(settings: SshSettings) -> tuple[list[str], list[str]]:
    """Public keys ("type base64") that are trusted, and those that are revoked."""
    import asyncssh

    trusted, revoked = [], []
    for line in known_lines(settings.known_hosts):
        if is_fingerprint(line):
            continue
        hosts, key = key_of(line)
        if hosts.startswith("@revoked"):
            revoked.append(key)
        elif not hosts or _matches(asyncssh.import_known_hosts(line), settings):
            trusted.append(key)
    return trusted, revoked


def _matches(known: Any, settings: SshSettings) -> bool:
    import asyncssh

    port = None if settings.port == 22 else settings.port
    return bool(asyncssh.match_known_hosts(known, settings.host, settings.host, port)[0])


def _client_class(settings: SshSettings, seen: list[Exception]) -> Any:
    """A client that checks the host key, and puts why not into `seen`."""
    import asyncssh

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            problem = check_host_key(settings, key)
            if problem is not None:
                seen.append(problem)
            return problem is None

    return Client


def check_host_key(settings: SshSettings, key: asyncssh.SSHKey) -> SshRefused | None:
    """Why the key that the server shows is not taken; None: it is known."""
    import asyncssh

    shown = key.get_fingerprint()
    line = key.export_public_key("openssh").decode().strip()
    plain = " ".join(line.split()[:2])
    trusted, revoked = _known(settings)
    prints = [known.rstrip("=") for known in known_lines(settings.known_hosts) if is_fingerprint(known)]
    if plain not in revoked and (plain in trusted or shown in prints):
        return None
    place = settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}"
    details: dict[str, Any] = {"shown": shown, "line": f"{place} {plain}", "known": prints}
    details["known"] += [asyncssh.import_public_key(one).get_fingerprint() for one in trusted]
    if plain in revoked:
        return SshRefused(f"The host key {shown} of {place} is revoked. Nothing was sent.", details=details)
    if not details["known"]:
        return SshRefused(
            f"The host key of {place} is not known. Nothing was sent.",
            hint=f"If {shown} is its fingerprint, add this line to known hosts: {details['line']}",
            details=details,
        )
    known = ", ".join(details["known"])
    return SshRefused(
        f"The host key of {place} has changed: it shows {shown}, known is {known}. Nothing was sent.",
        hint="Somebody may be in between. Ask who runs the server before you change the known hosts.",
        details=details,
    )


def _said(error: Exception, access: Access, timeout: float) -> OrchestraError:
    """In words, of a connection that did not come about."""
    import asyncssh

    place, why = access.place, str(error) or type(error).__name__
    if isinstance(error, asyncssh.PermissionDenied):
        return SshRefused(
            f"{place} does not let {access.settings.username} in: {why}",
            hint="Look at the user name, and at whether the key or password in the secret is the right one.",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.IllegalUserName):
        return SshRefused(f"{place} and Orchestra have no algorithm in common: {why}")
    if isinstance(error, TimeoutError):
        return SshUnreachable(f"{place} took the call, but let nobody in within {timeout:g} s.")
    if isinstance(error, asyncssh.ProtocolNotSupported | asyncssh.ProtocolError):
        return SshUnreachable(f"What answers at {place} is no SSH server: {why}")
    return SshUnreachable(f"{place} hung up before it let us in: {why}")
