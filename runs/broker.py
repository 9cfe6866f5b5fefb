"""django-q2's broker: hands each worker process one task for life, and watches the database in between.

Nothing durable passes through here. The task queue holds at most a few "serve" tasks, so a worker that is killed
while it takes one holds the queue's lock for microseconds, not for its idle time.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from multiprocessing import util
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.utils import timezone
from django_q.brokers import Broker
from django_q.signing import SignedPackage

from runs.models import Work
from runs.serve import die_with_parent
from runs.watch import Watcher

logger = logging.getLogger(__name__)

#: seconds a cluster may lack workers that it has tasks for before it is given up: its task queue is stuck
STUCK_AFTER: Final = 15.0
#: the same where not one worker is left that serves
NONE_AFTER: Final = 3.0


def wait_for_no_lock(connection: BaseDatabaseWrapper, **_: object) -> None:
    """A worker that was stopped in the middle of a commit must not keep the watcher from all the others."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout TO '1s'")


class WorkBroker(Broker):  # type: ignore[misc]  # django-q2 has no types
    """Every process of a cluster makes its own; only the pusher's ever dequeues and so starts a watcher."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._watcher: Watcher | None = None
        self._handed = 0
        self._full_at = 0.0

    def dequeue(self) -> list[tuple[str, str]] | None:
        """Watch for a moment; a package whenever no serve task is waiting on the task queue."""
        if self._watcher is None:
            self._start_watching()
        watcher = self._watcher
        assert watcher is not None  # noqa: S101  for mypy
        if self._handed > watcher.joined:
            self._watch(watcher)
            return None
        self._handed = watcher.joined + 1
        return [("serve", self._package())]

    def _start_watching(self) -> None:
        die_with_parent()
        connection_created.connect(wait_for_no_lock)
        connection.close()
        # the sentinel is the parent of all of this cluster's processes: its pid names the cluster on this host
        self._watcher = Watcher(str(os.getppid()))
        self._full_at = time.monotonic()
        # runs when the pusher ends by itself, that is, when the cluster stops in good order
        util.Finalize(self, self._watcher.say_goodbye, exitpriority=10)

    def _watch(self, watcher: Watcher) -> None:
        """A watcher that breaks leaves at once, and the sentinel makes a new one: django-q2 would sleep for 10 s, and
        then end this process in good order, which tells all workers to stop."""
        try:
            watcher.turn()
        except Exception:
            logger.exception("the watcher broke; a new one takes over")
            os._exit(1)
        self._check_stuck(watcher)

    def _package(self) -> str:
        task: dict[str, Any] = {
            "id": f"serve{self._handed:027d}",
            "name": f"serve-{self._handed}",
            "func": "runs.tasks.serve",
            "args": (str(os.getppid()),),
            "kwargs": {},
            "timeout": -1,
            "save": False,
            "started": timezone.now(),
        }
        package: str = SignedPackage.dumps(task)
        return package

    def _check_stuck(self, watcher: Watcher) -> None:
        """Workers that never take their task: the task queue's lock died with one of them. Start over."""
        now = time.monotonic()
        if len(watcher.links) >= settings.WORKERS:
            self._full_at = now
        elif now - self._full_at > (NONE_AFTER if watcher.joined and not watcher.links else STUCK_AFTER):
            logger.critical("%s of %s workers serve; the cluster starts over", len(watcher.links), settings.WORKERS)
            os.kill(os.getppid(), signal.SIGKILL)

    # -- durability is the queue table's, so these have nothing to do ---------------------------------------------
    def acknowledge(self, task_id: str) -> None: ...

    def delete(self, task_id: str) -> None: ...

    def fail(self, task_id: str) -> None:
        logger.error("an unreadable package: %s", task_id)

    def enqueue(self, task: str) -> None:
        raise NotImplementedError("Orchestra's queue takes step runs, not django-q2 tasks: start a run instead.")

    def ping(self) -> bool:
        return True

    def info(self) -> str:
        return "Orchestra's queue table"

    def queue_size(self) -> int:
        return Work.objects.filter(owner__isnull=True, wake_at__isnull=False).count()

    def lock_size(self) -> int:
        return Work.objects.filter(owner__isnull=False).count()
