"""One engine a process for each connection and way of use, made after the fork and disposed of on a change."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from resources import secrets
from resources.connections import ConnectionRef
from resources.errors import BadInput
from resources.kinds.databases import ServerSettings

KINDS = ("postgres", "mysql", "sqlite")
_MAX_ENGINES = 32
_RECYCLE_SECONDS = 600
_POOLED = 2

#: connection id -> what it was, its engine
_engines: dict[int, tuple[ConnectionRef, Any]] = {}
#: connection id -> its password when it was last used: read by who may ask our own database, used by who connects
_passwords: dict[int, str] = {}
_inherited: list[Any] = []
_lock = threading.Lock()


def _forget() -> None:
    """A forked child shares its parent's sockets: it starts with no engine, and closes none that is not its own."""
    global _lock
    _lock = threading.Lock()
    _inherited.extend(_engines.values())
    _engines.clear()


os.register_at_fork(after_in_child=_forget)


@dataclass(frozen=True, slots=True)
class Access:
    """`driver`: the module of this kind. `password` as it is now, to be masked by whoever uses this."""

    ref: ConnectionRef
    driver: Any
    password: str

    def engine(self, write: bool) -> Any:
        """For reads: a small pool. For writes a connection each: their statements may leave anything behind."""
        return self.new(True) if write else _reading(self)

    def new(self, write: bool) -> Any:
        """An engine that connects through the guard, with the password of the moment."""
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        pooled = not write and self.ref.kind == "postgres"
        pool = (
            {"pool_size": _POOLED, "max_overflow": -1, "pool_recycle": _RECYCLE_SECONDS, "pool_use_lifo": True}
            if pooled
            else {"poolclass": NullPool}
        )
        extra = {"use_native_hstore": False} if self.ref.kind == "postgres" else {}
        return sa.create_engine(
            f"{self.driver.DIALECT}://",
            creator=lambda: self.driver.connect(self.ref.settings, _passwords[self.ref.id], write),
            pool_reset_on_return=None,  # a session cleans up itself, within its time
            hide_parameters=True,
            **pool,
            **extra,
        )


def access_of(ref: ConnectionRef) -> Access:
    """Raises BadInput for a connection of another kind, NotFound where its secret is gone."""
    if ref.kind not in KINDS:
        raise BadInput(f"The connection {ref.name} is of kind {ref.kind} and is no database.")
    settings = ref.settings
    secret = settings.secret if isinstance(settings, ServerSettings) else ""
    password = secrets.reveal(secret) if secret else ""
    _passwords[ref.id] = password  # a rotated one is used from the next connection on
    return Access(ref, import_module(f"resources.databases.{ref.kind}"), password)


def _reading(access: Access) -> Any:
    with _lock:
        known, engine = _engines.get(access.ref.id, (None, None))
        # compared whole: a restored database may use an id and a version a second time for something else
        if engine is None or known != access.ref:
            old = [_engines.pop(access.ref.id)[1]] if engine is not None else []
            while len(_engines) >= _MAX_ENGINES:
                old.append(_engines.pop(next(iter(_engines)))[1])
            for gone in old:
                gone.dispose()  # what is in use is closed when it comes back
            engine = access.new(False)
            _engines[access.ref.id] = (access.ref, engine)
        return engine
