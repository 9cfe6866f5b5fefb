"""TLS for tests: throwaway authorities, and a server that speaks TLS in front of one that was built without.

What stands behind is the real server; what is in front is Python's TLS, so certificates, names and refusals are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_GSS_REQUEST = 80877104


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of a certificate and its key (mode 0600)."""

    certificate: Path
    key: Path

    def context(self, clients: Authority | None = None) -> ssl.SSLContext:
        """Of a server; with `clients` it lets in only who has a certificate of that authority."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        if clients is not None:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(clients.file)
        return made


class Authority:
    """Signs what it is asked to; `file` and `pem` are its own certificate."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        root = self._signed(name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = root.public_bytes(serialization.Encoding.PEM).decode()
        self.file = folder / "ca.pem"
        self.file.write_text(self.pem)

    def pair(self, *names: str) -> Pair:
        """A certificate for these host names and addresses (for a client: a name), and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(names[0], key, x509.SubjectAlternativeName([_general(name) for name in names]))
        found = Pair(self.folder / f"{names[0]}.crt", self.folder / f"{names[0]}.key")
        found.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        found.key.touch(mode=0o600)
        plain = serialization.NoEncryption()
        found.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return found

    def _signed(self, name: str, key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(_named(name)).issuer_name(_named(self.name))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Front:
    """A TLS server on loopback that passes everything on to the port `behind`; one event loop does all of it.

    `asks`: the client asks for TLS in clear first, and is told yes, as PostgreSQL does; Kerberos it is not given.
    """

    def __init__(self, context: ssl.SSLContext, behind: int, *, asks: bool = False) -> None:
        self.context, self.behind, self.asks = context, behind, asks
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.heard = 0  # bytes that clients said inside TLS
        self._clients: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._end = asyncio.Event()
        self._thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self.loop.close()
        self.socket.close()

    async def _serve(self) -> None:
        accepting = asyncio.create_task(self._accept())
        await self._end.wait()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in [accepting, *tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self) -> None:
        while True:
            client, _ = await self.loop.sock_accept(self.socket)
            client.setblocking(False)
            task = asyncio.create_task(self._client(client))
            self._clients.add(task)  # the loop itself holds tasks weakly: one that waits would be collected
            task.add_done_callback(self._gone)

    def _gone(self, client: asyncio.Task[None]) -> None:
        self._clients.discard(client)
        _ = client.cancelled() or client.exception()  # who hung up is no news

    async def _client(self, client: socket.socket) -> None:
        with client:
            if self.asks:
                while int.from_bytes((await self._exactly(client, 8))[4:], "big") == _GSS_REQUEST:
                    await self.loop.sock_sendall(client, b"N")
                await self.loop.sock_sendall(client, b"S")
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            # who does not trust the certificate hangs up here
            inside, _ = await self.loop.connect_accepted_socket(lambda: protocol, client, ssl=self.context)
            try:
                there, out = await asyncio.open_connection("127.0.0.1", self.behind)
                writer = asyncio.StreamWriter(inside, protocol, reader, self.loop)
                try:
                    await asyncio.gather(_pass_on(reader, out, self._hear), _pass_on(there, writer))
                finally:
                    out.close()
            finally:
                inside.abort()

    def _hear(self, count: int) -> None:
        self.heard += count

    async def _exactly(self, client: socket.socket, count: int) -> bytes:
        found = b""
        while len(found) < count:
            if not (data := await self.loop.sock_recv(client, count - len(found))):
                raise ConnectionError("hung up before it asked for TLS")
            found += data
        return found


async def _pass_on(
    one: asyncio.StreamReader, other: asyncio.StreamWriter, hear: Callable[[int], None] = lambda count: None
) -> None:
    """Until one side is through; then the other one is told."""
    with contextlib.suppress(OSError):
        while data := await one.read(65_536):
            hear(len(data))
            other.write(data)
            await other.drain()
    other.close()


@contextlib.contextmanager
def front(context: ssl.SSLContext, behind: int, *, asks: bool = False) -> Iterator[Front]:
    """See Front; gone at the end."""
    server = Front(context, behind, asks=asks)
    try:
        yield server
    finally:
        server.close()
