"""A worker's life: claim and work while there is something due, else wait for the watcher's bell."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from runs import owners, watch
from runs.drain import Drain
from runs.heart import Heart
from runs.worker import Worker

logger = logging.getLogger(__name__)

#: seconds an idle worker sleeps at most while the watcher is there; without it, POLL_SECONDS
IDLE: Final = 30.0
#: seconds between two tries to reach a watcher that is gone, of a worker that has work
RETRY: Final = 0.2
#: seconds at least that a transaction of a worker may be left alone
FROZEN: Final = 10.0
#: new objects between two looks of the garbage collector
GC_EVERY: Final = 10_000
_PR_SET_PDEATHSIG: Final = 1

_stopping = False  # of this process: what is left on the task queue after a stop is not served


def serve(cluster: str) -> None:
    """Work until the cluster stops. One call is a worker process's whole life."""
    global _stopping
    if _stopping or watch.address(cluster).with_suffix(".stopped").exists():
        _stopping = True
        return
    die_with_parent()
    connections.close_all()  # nothing is inherited over the fork
    connection_created.connect(short_questions)
    gc.freeze()  # what was imported stays; and a step makes many small objects and no cycles worth looking for
    gc.set_threshold(GC_EVERY, 20, 20)
    owner = owners.owner_name()
    link = Link(cluster, owner)
    drain = Drain(owner, watch.address(cluster).with_suffix(".stopped"))
    worker = Worker(owner, Heart(owner, drain, link.look))
    lost = False
    while not link.stopped:
        try:
            if lost:
                worker.recover()
                lost = False
            busy = worker.work_once()
        except DatabaseError as error:
            logger.warning("a worker lost the database and tries again: %s", error)
            connection.close()
            busy, lost = False, True
            time.sleep(0.2)
        if busy:
            link.look()
        else:
            link.wait()
        worker.stopping, worker.only_short = link.stopped, link.only_short
    _stopping = True
    worker.heart.stop()
    connections.close_all()


def short_questions(connection: BaseDatabaseWrapper, **_: object) -> None:
    """All that a worker asks PostgreSQL hits a few rows by an index, of tables that may have grown since it planned.

    And one that is stopped in the middle of a commit gives up its locks with its lease: whoever takes over needs them.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off; SET jit TO off; "
                f"SET idle_in_transaction_session_timeout TO {int(1000 * max(FROZEN, settings.LEASE_SECONDS))}"
            )


def die_with_parent() -> None:
    """On Linux: a worker whose cluster was killed dies with it instead of working on as an orphan."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Link:
    """The worker's end of the watcher's socket."""

    def __init__(self, cluster: str, owner: str) -> None:
        self.cluster, self.owner = cluster, owner
        self.stopped = False
        self.only_short = False
        self.socket: socket.socket | None = None
        self.again = False
        self.tried = 0.0  # monotonic
        self._connect()

    def _connect(self) -> None:
        self.tried = time.monotonic()
        conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            conn.connect(str(watch.address(self.cluster)))
            conn.sendall(json.dumps({"owner": self.owner, "pid": os.getpid(), "again": self.again}).encode() + b"\n")
        except OSError:
            conn.close()
            self.stopped = watch.address(self.cluster).with_suffix(".stopped").exists()
            return
        self.socket, self.again, self.only_short = conn, True, False

    def look(self) -> None:
        """Between two pieces of work, and by the heart during one: was there a goodbye, is there a new watcher?

        A worker that never rests would otherwise stay unknown to the new one, and nobody would see it die.
        """
        if self.socket is None:
            if time.monotonic() - self.tried > RETRY:
                self._connect()
        elif select.select([self.socket], [], [], 0)[0]:
            self._read()

    def wait(self) -> None:
        """Say that there is nothing to do, and sleep until woken. Without a watcher, poll."""
        if self.socket is None:
            time.sleep(settings.POLL_SECONDS)
            self._connect()
            return
        with contextlib.suppress(OSError):
            self.socket.sendall(b"i")
        if select.select([self.socket], [], [], IDLE)[0]:
            self._read()

    def _read(self) -> None:
        assert self.socket is not None  # noqa: S101  for mypy; both callers checked
        try:
            data = self.socket.recv(64)
        except OSError:
            data = b""
        self.only_short |= b"r" in data
        if b"s" in data:
            self.stopped = True
        elif not data:  # the watcher died: a new one will come
            self.socket.close()
            self.socket = None
            self._connect()
