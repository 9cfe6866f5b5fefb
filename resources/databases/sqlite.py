"""SQLite files inside the data directory: how to open and stop."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings as django_settings
from django.db import connections

from resources.databases.reach import Denied, Unreachable
from resources.kinds.databases import SqliteSettings

DIALECT = "sqlite+pysqlite"
FOLDER = "databases"
_STEPS = 20_000  # instructions of SQLite's machine between two looks at the clock
_MAX_LENGTH = 64 * 1024 * 1024  # of a value, in bytes
#: what reaches outside of the file, or into how it is kept
_FORBIDDEN = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE}
#: pragmas that tell, where they have no value to set
_TELLING = {
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "user_version", "schema_version", "page_count", "freelist_count", "encoding", "database_list",
}  # fmt: skip
_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}


def path_of(file: str) -> Path:
    """The file that a connection names. Raises Denied, Unreachable."""
    root = (Path(django_settings.DATA_DIR) / FOLDER).resolve()
    path = root / file
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise Unreachable(f"There is no file {file} in the folder {FOLDER} of the data directory. Put it there.") from (
            error
        )
    if found != path or not found.is_file():
        raise Denied(f"{file} is not a plain file in the folder {FOLDER}: links are not followed.")
    if _is_our_own(found) or found.stat().st_nlink > 1:
        raise Denied(f"{file} has another name elsewhere, or is the database of this program; no step may use it.")
    return found


def _is_our_own(path: Path) -> bool:
    ours = [Path(str(c.settings_dict["NAME"])) for c in connections.all() if c.vendor == "sqlite"]
    return any(own.exists() and own.samefile(path) for own in ours)


def connect(settings: SqliteSettings, password: str, write: bool) -> Any:
    """Raises Denied, Unreachable."""
    uri = f"file:{quote(str(path_of(settings.file)))}?mode={'rw' if write else 'ro'}"
    try:
        driver = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as error:
        raise Unreachable(f"The file {settings.file} cannot be opened: {error}.") from error
    driver.text_factory = lambda raw: raw.decode("utf-8", "replace")
    driver.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_LENGTH)
    return driver


def _allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in _FORBIDDEN:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and (first not in _TELLING or (second and "_version" in first)):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and second in _FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def begin(connection: Any, write: bool, seconds: float) -> None:
    """Start a transaction that is read-only or not, ended by the clock; who holds a lock is waited for until then."""
    driver = connection.connection.driver_connection
    end = time.monotonic() + seconds
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(1, int(seconds * 1000))}")
    connection.exec_driver_sql("PRAGMA trusted_schema = OFF")
    connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    if not write:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    driver.set_authorizer(_allow)
    driver.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def cancel(driver: Any, settings: SqliteSettings, password: str) -> None:
    with contextlib.suppress(sqlite3.Error):  # closed already
        driver.interrupt()


def hang_up(driver: Any) -> None:
    cancel(driver, SqliteSettings(file="x"), "")


def clean(driver: Any) -> bool:
    """Opening a file is cheap; nothing of a session is kept."""
    return False


def leave(driver: Any) -> None:
    """Closing a cursor reads nothing more."""


def about(connection: Any) -> str:
    """What the file is, for the test of a connection."""
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE type = 'table'").scalar()
    return f"SQLite {sqlite3.sqlite_version}, {tables} table{'s' * (tables != 1)}."
