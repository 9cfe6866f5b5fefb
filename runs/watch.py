"""The watcher: one process a cluster looks at the database, and wakes exactly as many workers as have work.

Workers connect over a Unix stream socket. A connection that ends without a goodbye is a dead worker: its leases end at
once, so that another one takes over within milliseconds. What that misses (a worker that had not found this watcher
yet, a database that did not answer) the next sweep finds. All of it is a hint: leases and fences keep it safe.

Wire format, one byte a message: worker -> watcher, after one line of JSON `{"owner", "pid"}`: `i` idle, `b` busy;
watcher -> worker: `w` wake up, `s` stop, `r` you are the one that takes no long steps.
"""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection

from runs import bell, clock, hosts, load, owners, queue

logger = logging.getLogger(__name__)

#: seconds at most between two turns, so that the caller sees that it should stop
TURN: Final = 0.5
#: seconds between two looks whether everybody of this host who holds a lease still lives
SWEEP: Final = 1.0
#: seconds after a bell until it is looked who else has work: by then the worker woken at once has claimed
AFTER: Final = 0.003


@dataclass(slots=True)
class Link:
    """A connected worker."""

    socket: socket.socket
    owner: str = ""
    idle: bool = False
    only_short: bool = False


def address(cluster: str) -> Path:
    return bell.directory() / f"watch-{cluster}"


class Watcher:
    """Owned by one process; `turn()` waits at most TURN seconds."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.host = socket.gethostname()
        self.selector = selectors.DefaultSelector()
        self.links: dict[int, Link] = {}
        self.joined = 0  # workers that connected for the first time
        self.alive: set[str] = set()  # owners seen alive on this host, by this very watcher
        self.others = hosts.Others(self.host)
        self.swept = False
        self.next_sweep = 0.0  # monotonic
        self.next_look = 0.0  # monotonic
        self.quiet = 0.0  # monotonic: until then, whoever was just woken is looking
        self.next_note = 0.0  # monotonic
        self.listen: Any = None
        self.stopped_mark = address(cluster).with_suffix(".stopped")
        self.stopped_mark.unlink(missing_ok=True)
        self.server = self._serve(address(cluster))
        self.bell = bell.Listener(bell.WORK, cluster)
        self.selector.register(self.server, selectors.EVENT_READ, self._accept)
        self.selector.register(self.bell, selectors.EVENT_READ, self._rung)

    @staticmethod
    def _serve(path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        server.listen(128)
        server.setblocking(False)
        return server

    # -- one turn ----------------------------------------------------------------------------------------------
    def turn(self) -> None:
        """Wait for a bell, a worker or a due time; then wake whom it takes."""
        self._listen_to_postgres()
        wait = max(0.0, min(TURN, self.next_look - time.monotonic()))
        for key, _ in self.selector.select(wait):
            key.data(key.fileobj)
        if time.monotonic() >= self.next_sweep:
            self._sweep()
        if time.monotonic() >= self.next_look:
            self._look()
        if time.monotonic() >= self.next_note:
            self._note()

    def _look(self) -> None:
        """Wake an idle worker for each due row, and come back when the next one is due."""
        idle = [link for link in self.links.values() if link.idle]
        try:
            clock.measure(every=clock.ASK_EVERY)  # it may have been set since
            due = queue.look(len(idle) + 1)
        except DatabaseError as error:
            logger.warning("the watcher lost the database: %s", error)
            connection.close()
            self.next_look = time.monotonic() + TURN
            return
        now = clock.now()
        for link, at in zip(idle, due, strict=False):
            if at <= now:
                self._send(link, b"w")
                link.idle = False
        later = next((at for at in due if at > now), None)
        wait = settings.POLL_SECONDS if later is None else min(settings.POLL_SECONDS, later - now)
        self.next_look = time.monotonic() + wait

    def _note(self) -> None:
        """Say that this cluster is there, for people and autoscalers."""
        self.next_note = time.monotonic() + load.BEAT
        idle = sum(link.idle for link in self.links.values())
        try:
            load.note(self._name(), self.host[:64], len(self.links), idle)
        except DatabaseError as error:
            logger.warning("the watcher lost the database: %s", error)
            connection.close()

    def _name(self) -> str:
        return f"{self.host[:60]}:{self.cluster}"

    def look_now(self) -> None:
        self.next_look = min(self.next_look, self.quiet)

    # -- bells -------------------------------------------------------------------------------------------------
    def _rung(self, _: Any) -> None:
        """Somebody on this host has committed work: a worker starts before it is known what, and for whom else."""
        self.bell.drain()
        idle = next((link for link in self.links.values() if link.idle and not link.only_short), None)
        if idle is not None:
            self._send(idle, b"w")
            idle.idle = False
            self.quiet = time.monotonic() + AFTER
        self.look_now()

    def _listen_to_postgres(self) -> None:
        """Other hosts ring through NOTIFY. Without it, the poll interval still finds their work."""
        if connection.vendor != "postgresql" or self.listen is not None:
            return
        import psycopg

        try:
            connection.ensure_connection()
            listen = connection.get_new_connection(connection.get_connection_params())
            listen.autocommit = True
            listen.execute("LISTEN orchestra_work")
            hosts.hold(listen, self.host)
            offset = listen.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("the watcher cannot listen: %s", error)
            time.sleep(TURN)
            return
        clock.learn(offset[0])
        self.listen = listen
        self.selector.register(listen.fileno(), selectors.EVENT_READ, self._notified)

    def _notified(self, fd: Any) -> None:
        import psycopg

        try:
            for _ in self.listen.notifies(timeout=0):
                pass
        except psycopg.Error:
            self.selector.unregister(fd)
            with contextlib.suppress(psycopg.Error):
                self.listen.close()
            self.listen = None
        self.look_now()

    # -- workers -----------------------------------------------------------------------------------------------
    def _accept(self, server: socket.socket) -> None:
        conn, _ = server.accept()
        conn.settimeout(1.0)
        try:
            hello = json.loads(_line(conn))
        except (OSError, ValueError):
            conn.close()
            return
        conn.setblocking(False)
        self.links[conn.fileno()] = Link(conn, hello["owner"])
        self.alive.add(hello["owner"])
        self.next_note = min(self.next_note, time.monotonic() + 0.5)  # soon, and once for all that come now
        self.joined += 0 if hello.get("again") else 1
        self.selector.register(conn, selectors.EVENT_READ, self._heard)
        self._keep_one_for_short_steps()

    def _keep_one_for_short_steps(self) -> None:
        """Long steps never take the last worker of a cluster: one takes none."""
        links = list(self.links.values())
        if settings.WORKERS > 1 and links and not any(link.only_short for link in links):
            chosen = next((link for link in links if link.idle), links[0])
            chosen.only_short = True
            self._send(chosen, b"r")

    def _heard(self, conn: socket.socket) -> None:
        link = self.links[conn.fileno()]
        try:
            data = conn.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(link)
        elif data[-1:] == b"i":
            link.idle = True
            self.look_now()
        else:
            link.idle = False

    def _gone(self, link: Link) -> None:
        self.selector.unregister(link.socket)
        del self.links[link.socket.fileno()]
        link.socket.close()
        self._keep_one_for_short_steps()
        try:
            self._end_leases(link.owner)
        except DatabaseError as error:
            logger.warning("leases of %s are left to the next sweep: %s", link.owner, error)
            connection.close()

    def _sweep(self) -> None:
        """End the leases of whoever died without a goodbye that was heard, and shorten those of vanished hosts.

        At first of all who are not of this host's processes any more: nobody says goodbye for them. Later only of those
        this watcher saw alive, since another container may go by the same host name.
        """
        self.next_sweep = time.monotonic() + SWEEP
        try:
            holding = set(queue.owners())
            for owner in holding | self.alive:
                fate = owners.fate_of(owner, self.host)
                if fate == "alive":
                    self.alive.add(owner)
                elif fate == "dead":
                    if owner in holding and (owner in self.alive or not self.swept):
                        self._end_leases(owner)
                    self.alive.discard(owner)
            if shortened := self.others.shorten(holding, clock.now()):
                logger.warning("a host has vanished: %s of its leases end within %g s", shortened, hosts.SHORT)
        except DatabaseError as error:
            logger.warning("leases of the dead are looked at again in a moment: %s", error)
            connection.close()
        else:
            self.swept = True

    def _end_leases(self, owner: str) -> None:
        """Raises DatabaseError."""
        ended = queue.end_leases(owner, clock.now())
        if ended:
            logger.warning("worker %s is gone; %s of its rows go to others", owner, ended)
        self.look_now()

    def _send(self, link: Link, message: bytes) -> None:
        with contextlib.suppress(OSError):  # a dead one shows at the next select
            link.socket.send(message)

    def say_goodbye(self) -> None:
        """The cluster stops in good order: workers finish what they hold."""
        self.stopped_mark.touch()
        with contextlib.suppress(DatabaseError):
            load.leave(self._name())
        for link in self.links.values():
            self._send(link, b"s")
        self.bell.close()
        address(self.cluster).unlink(missing_ok=True)


def _line(conn: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < 512:
        chunk = conn.recv(1)
        if not chunk:
            raise OSError("the worker left")
        data += chunk
    return data
