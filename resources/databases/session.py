"""One transaction with a database: bounded in time, stoppable from another thread, and cleaned up behind."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from resources import network
from resources.connections import ConnectionRef
from resources.databases import engines
from resources.databases.reach import CONNECT_SECONDS, Clock, TooSlow, bounded
from resources.stop import Stop

logger = logging.getLogger(__name__)
#: seconds after the server's own bound, or after it was asked to stop, until it is taken for gone
_GRACE = 0.25
_HANG_UP_AFTER = 1.0


class Watch:
    """Ends what blocks in a driver when the time is up or the attempt is asked to stop: asks the server to cancel, and
    hangs up where that does not help. `why`: "" or "timeout" or "stop"."""

    def __init__(
        self, seconds: float, stop: Stop | None, cancel: Callable[[], None], hang_up: Callable[[], None]
    ) -> None:
        self.why = ""
        self._seconds, self._stop, self._cancel, self._hang_up = seconds, stop, cancel, hang_up
        self._lock, self._over = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        timer = threading.Timer(self._seconds + _GRACE, self._fire, ("timeout",))
        timer.daemon = True
        timer.start()
        with contextlib.ExitStack() as stack:
            stack.callback(timer.cancel)
            stack.callback(self._end)
            if self._stop is not None:
                stack.enter_context(self._stop.on_stop(self._stopped))
            yield

    def _end(self) -> None:
        with self._lock:  # nobody hangs up on a socket that belongs to somebody else by now
            self._over.set()

    def _stopped(self) -> None:
        threading.Thread(target=self._fire, args=("stop",), daemon=True, name="cancelling").start()

    def _fire(self, why: str) -> None:
        with self._lock:
            if self._over.is_set() or self.why:
                return
            self.why = why
        self._cancel()
        if self._over.wait(_HANG_UP_AFTER):
            return
        with self._lock:
            if not self._over.is_set():
                self._hang_up()


@dataclass(slots=True)
class Session:
    """`connection`: SQLAlchemy's, in a transaction. Without `commit` nothing that was done stays."""

    kind: str
    connection: Any
    driver: Any
    watch: Watch
    clock: Clock
    #: a commit was sent: from here on a broken connection leaves open what happened
    committing: bool = field(default=False)

    def execute(self, text: str, params: dict[str, Any], *, expand: tuple[str, ...] = (), stream: bool = False) -> Any:
        """Run one statement, its values bound. `expand`: names of lists that stand behind IN."""
        import sqlalchemy as sa

        clause = sa.text(text)
        if expand:
            clause = clause.bindparams(*(sa.bindparam(name, expanding=True) for name in expand))
        connection = self.connection
        if stream:
            return connection.execute(clause, params, execution_options={"stream_results": True})
        return connection.execute(clause, params)

    def leave(self, result: Any) -> None:
        """Done with the rows of a stream, perhaps before their end, which is then not read."""
        import sqlalchemy.exc

        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):  # broken: it is dropped anyway
            if not self.connection.invalidated:
                self.driver.leave(_driver_of(self.connection))
            result.close()

    def commit(self) -> None:
        self.committing = True
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()


@contextlib.contextmanager
def session(ref: ConnectionRef, *, write: bool, seconds: float, stop: Stop | None = None) -> Iterator[Session]:
    """A session in a transaction, read-only without `write`, rolled back at the end unless it was committed.

    Raises Unreachable (TooSlow where the time was up), Denied, network.AddressRefused, NotFound where the secret is
    gone, and what the body raises.
    """
    clock = Clock(seconds)
    access = engines.access_of(ref)
    opened = _open(access, ref, write, clock, stop)
    try:
        with opened.watch.watching():
            yield opened
            reusable = not opened.watch.why and access.driver.clean(_driver_of(opened.connection))
    except BaseException:
        _drop(opened.connection)
        raise
    if reusable and not opened.watch.why:
        opened.connection.close()
    else:
        _drop(opened.connection)


def _open(access: engines.Access, ref: ConnectionRef, write: bool, clock: Clock, stop: Stop | None) -> Session:
    """Begun. A pooled connection that died meanwhile is replaced, once."""
    engine = access.engine(write)
    for again in (True, False):
        with network.total_time(clock.left(), stop):
            connection = bounded(engine.connect, _drop, min(clock.left(), CONNECT_SECONDS), stop)
        again = again and bool(connection.info.get("used"))
        connection.info["used"] = True
        if _begun(access, connection, write, clock, stop, again):
            break
    return Session(ref.kind, connection, access.driver, _watch(access, connection, clock, stop), clock)


def _begun(
    access: engines.Access, connection: Any, write: bool, clock: Clock, stop: Stop | None, may_be_dead: bool
) -> bool:
    """False: the connection was dead. Raises TooSlow."""
    import sqlalchemy.exc

    watch = _watch(access, connection, clock, stop)
    try:
        with watch.watching():
            access.driver.begin(connection, write, clock.left())
    except sqlalchemy.exc.DBAPIError as error:
        _drop(connection)
        if watch.why:
            raise TooSlow("There was no session in time.") from error
        if may_be_dead and error.connection_invalidated:
            return False
        raise
    return True


def _watch(access: engines.Access, connection: Any, clock: Clock, stop: Stop | None) -> Watch:
    driver, settings = _driver_of(connection), access.ref.settings
    return Watch(
        clock.left(), stop,
        cancel=lambda: access.driver.cancel(driver, settings, access.password),
        hang_up=lambda: access.driver.hang_up(driver),
    )  # fmt: skip


def _driver_of(connection: Any) -> Any:
    return connection.connection.driver_connection


def _drop(connection: Any) -> None:
    """Close it for good; the server rolls back what was not committed."""
    connection.invalidate()
    connection.close()
