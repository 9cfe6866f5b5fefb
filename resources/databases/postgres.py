"""PostgreSQL: how to connect, stop and clean. Imported only where one is used."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import tempfile
from typing import Any

import psycopg

from resources.databases.reach import CONNECT_SECONDS, Denied, Unreachable, addresses, untrusted
from resources.kinds.databases import PostgresSettings

DIALECT = "postgresql+psycopg"
#: the server answered and may let us in later
_LATER = re.compile(r"too many|starting up|shutting down|recovery|remaining connection slots|terminating", re.I)
_CERTIFICATE = re.compile(r"certificate|does not match host name|does not support SSL|SSL error", re.I)


def connect(settings: PostgresSettings, password: str, write: bool) -> Any:
    """A connection to the first checked address that answers. Raises Unreachable, Denied, AddressRefused."""
    error: Exception = Unreachable(f"The host {settings.host} has no address.")
    for ip in addresses(settings, CONNECT_SECONDS):
        try:
            return _connect(settings, ip, password, write)
        except psycopg.OperationalError as failed:
            error = _failed(settings, str(failed))
    raise error


def _connect(settings: PostgresSettings, ip: str, password: str, write: bool) -> Any:
    read_only = "" if write else " -c default_transaction_read_only=on"
    # nothing comes from the surroundings (pgpass, client certificates, Kerberos); TLS checks the name, not the address
    connection: Any = psycopg.connect(
        host=settings.host, hostaddr=ip, port=settings.port, dbname=settings.database, user=settings.username,
        password=password, connect_timeout=int(CONNECT_SECONDS), application_name=settings.application_name,
        client_encoding="utf8", options=f"-c TimeZone=UTC -c DateStyle=ISO{read_only}",
        passfile=os.devnull, sslcertmode="disable", gssencmode="disable", keepalives_idle=30, tcp_user_timeout=15_000,
        **_tls(settings),
    )  # fmt: skip
    connection.read_only = not write
    # a statement that is prepared is one statement: the protocol refuses a second behind a semicolon
    connection.prepare_threshold = 0 if write else None
    return connection


def _tls(settings: PostgresSettings) -> dict[str, Any]:
    if settings.tls == "verify-full":
        return {"sslmode": "verify-full", "sslrootcert": _authorities(settings.ca)}
    # who was not checked does not get the password in clear
    return {"sslmode": {"off": "disable"}.get(settings.tls, settings.tls), "require_auth": "!password"}


def _authorities(ca: str) -> str:
    if not ca.strip():
        import certifi

        return certifi.where()
    return _file_of(ca, os.getpid())


@functools.lru_cache(maxsize=64)
def _file_of(ca: str, pid: int) -> str:
    """libpq reads authorities from a file only. Certificates are public; the file goes when the process does."""
    with tempfile.NamedTemporaryFile("w", prefix="orchestra-ca-", suffix=".pem", delete=False) as file:
        file.write(ca)
    _files.append(file)
    return file.name


_files: list[Any] = []


def _failed(settings: PostgresSettings, message: str) -> Exception:
    said = " ".join(message.split())
    said = re.sub(r"^(connection (failed|to server)[^:]*: )+", "", said)
    said = re.sub(r" Is the server running.*", "", said)[:300].rstrip("?.")
    where = f"{settings.host}:{settings.port}"
    if _CERTIFICATE.search(said):
        return untrusted(where, said)
    if "FATAL" in said and not _LATER.search(said):
        return Denied(f"{where} refused the connection: {said}. Look at user name, password and database.")
    if "authentication method requirement" in said:
        return Denied(f"{where} asks for the password in clear, which is sent to verified servers only: {said}.")
    return Unreachable(f"{where} could not be reached: {said}.")


def begin(connection: Any, write: bool, seconds: float) -> None:
    """Start the transaction that `connect` made read-only or not, its statements bounded by the server itself."""
    if not write:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")


def cancel(driver: Any, settings: PostgresSettings, password: str) -> None:
    with contextlib.suppress(psycopg.Error):  # gone already, or it will be hung up on
        driver.cancel_safe(timeout=1.0)


def hang_up(driver: Any) -> None:
    """Wakes the thread that waits for the server."""
    if driver.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


def clean(driver: Any) -> bool:
    """Leave nothing of this session to the next: settings, locks, temporary tables. May it be used again?"""
    driver.rollback()
    driver.autocommit = True
    driver.execute("DISCARD ALL")
    driver.autocommit = False
    return True


def leave(driver: Any) -> None:
    """Closing a cursor of the server reads nothing more."""


def about(connection: Any) -> str:
    """Who answered, for the test of a connection."""
    version, superuser = connection.exec_driver_sql(
        "SELECT current_setting('server_version'), current_setting('is_superuser')"
    ).one()
    tls = connection.connection.driver_connection.pgconn.ssl_in_use
    warning = " The account is a superuser: use one that may do less." if superuser == "on" else ""
    return f"PostgreSQL {version}, {'over TLS' if tls else 'without TLS'}.{warning}"
