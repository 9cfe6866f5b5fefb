"""MySQL and MariaDB: how to connect and stop. Imported only where one is used."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from resources.databases.reach import CONNECT_SECONDS, Denied, Unreachable, addresses, untrusted
from resources.errors import OrchestraError
from resources.kinds.databases import MysqlSettings

logger = logging.getLogger(__name__)
DIALECT = "mysql+pymysql"
#: access denied, unknown database, no certificate, plug-in refused
_DENIED = {1044, 1045, 1049, 1130, 1251, 1698, 1862, 2059, 2026, 3118, 3159, 4151}
#: how the server reads texts: strict, and with backslashes, which is how values are quoted and statements are read here
_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


class _NotInClear:
    """A server that asks for the password itself is refused, whatever it says it is."""

    def __init__(self, connection: Any) -> None:
        pass

    def authenticate(self, packet: Any) -> Any:
        raise pymysql.err.OperationalError(2059, "The server asks for the password in clear")


def connect(settings: MysqlSettings, password: str, write: bool, seconds: float = CONNECT_SECONDS) -> Any:
    """A connection to the first checked address that answers. Raises Unreachable, Denied, AddressRefused."""
    error: Exception = Unreachable(f"The host {settings.host} has no address.")
    for ip in addresses(settings, seconds):
        try:
            return _connect(settings, ip, password, seconds)
        except (pymysql.err.Error, OSError, ssl.SSLError) as failed:
            error = _failed(settings, failed)
    raise error


def _connect(settings: MysqlSettings, ip: str, password: str, seconds: float) -> Any:
    connection = pymysql.Connection(
        host=settings.host, port=settings.port, user=settings.username, password=password, database=settings.database,
        charset="utf8mb4", local_infile=False, client_flag=CLIENT.FOUND_ROWS, read_default_file=None,
        auth_plugin_map={b"mysql_clear_password": _NotInClear, b"dialog": _NotInClear},
        sql_mode=_MODE, defer_connect=True, program_name="orchestra", **_tls(settings),
    )  # fmt: skip
    sock = socket.create_connection((ip, settings.port), timeout=seconds)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.connect(sock)  # TLS checks settings.host, and takes `sock` over
        if connection._sock is not None:
            connection._sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return connection


def _tls(settings: MysqlSettings) -> dict[str, Any]:
    if settings.tls == "off":
        return {"ssl_disabled": True}
    if settings.tls == "prefer":
        return {}
    if settings.tls == "verify-full":
        return {"ssl": _authorities(settings.ca)}
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    return {"ssl": lax}


def _authorities(ca: str) -> ssl.SSLContext:
    if ca.strip():
        return ssl.create_default_context(cadata=ca)
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _failed(settings: MysqlSettings, error: Exception) -> Exception:
    where = f"{settings.host}:{settings.port}"
    code, said = error.args[:2] if len(error.args) > 1 else (0, str(error))
    below = getattr(error, "original_exception", None) or error.__cause__  # the driver says 2003 of everything
    tls = next((one for one in (error, below) if isinstance(one, ssl.SSLError)), None)
    if code == 2026 or (tls is not None and not isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError)):
        said = getattr(tls, "verify_message", "") or said
        return untrusted(where, str(said).rstrip("."))
    if code in _DENIED:
        return Denied(f"{where} refused the connection: {said}. Look at user name, password and database.")
    return Unreachable(f"{where} could not be reached: {said}.")


def begin(connection: Any, write: bool, seconds: float) -> None:
    """Start a transaction that is read-only or not, its statements bounded by the server as far as it can."""
    version = str(connection.exec_driver_sql("SELECT VERSION()").scalar())
    if "MariaDB" in version:
        bound = f"max_statement_time = {max(0.01, seconds):.2f}"
    else:  # of reads alone; writes are killed when the time is up
        bound = f"max_execution_time = {max(1, int(seconds * 1000))}"
    waits = max(1, int(seconds) + 1)
    connection.exec_driver_sql(
        f"SET SESSION {bound}, innodb_lock_wait_timeout = {waits}, lock_wait_timeout = {waits}, time_zone = '+00:00'"
    )
    connection.exec_driver_sql(f"START TRANSACTION READ {'WRITE' if write else 'ONLY'}")


def cancel(driver: Any, settings: MysqlSettings, password: str) -> None:
    """KILL QUERY through a second connection."""
    try:
        with contextlib.closing(connect(settings, password, False, seconds=1.0)) as second, second.cursor() as cursor:
            cursor.execute(f"KILL QUERY {driver.thread_id()}")
    except (pymysql.err.Error, OSError, OrchestraError) as error:
        logger.info("a query could not be killed, its connection will be closed: %s", error)


def hang_up(driver: Any) -> None:
    """Wakes the thread that waits for the server."""
    sock = driver._sock
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def clean(driver: Any) -> bool:
    """Variables and locks of a session cannot be reset by this driver: every session has a connection of its own."""
    return False


def leave(driver: Any) -> None:
    """Closing a cursor would read all that is left: forget it, the connection is dropped."""
    driver._result = None


def about(connection: Any) -> str:
    """Who answered, for the test of a connection."""
    version = str(connection.exec_driver_sql("SELECT VERSION()").scalar())
    name = "MariaDB" if "MariaDB" in version else "MySQL"
    cipher = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").one()[1]
    return f"{name} {version}, {'over TLS' if cipher else 'without TLS'}."
