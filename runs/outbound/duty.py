"""The keeper's duty: read the history on, send what is due, record what came back.

Threads only speak HTTP; all rows are read and written by the keeper's own thread. A keeper that dies leaves leases that
run out: what it sent without recording is sent again, with the same webhook-id.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import httpx2
from django.conf import settings
from django.db import DatabaseError

from resources.errors import OrchestraError
from resources.ids import new_id
from runs import clock
from runs.models import Delivery, RunEvent, Subscription
from runs.outbound import claims, reader
from runs.outbound.horizon import Horizon
from runs.outbound.letters import Withheld, write
from runs.outbound.policy import Answer
from runs.outbound.post import post

logger = logging.getLogger(__name__)

#: without a subscription nothing is read
WHEN: Final = "EXISTS (SELECT 1 FROM runs_subscription)"
THREADS: Final = 64
#: seconds between two looks: while something is under way, and while all is quiet
BUSY: Final = 0.02
QUIET: Final = 0.2
#: seconds of one turn that are spent on quick endpoints
SLICE: Final = 0.03
RECORDED_AT_ONCE: Final = 50
BROKE: Final = "Sending it broke on our side; the log has more."
#: seconds given at the end to what is under way
LAST_WAIT: Final = 5.0


class Outbox:
    """One a process."""

    def __init__(self) -> None:
        self.owner = f"{socket.gethostname()[:30]}:{os.getpid()}:{new_id()[-8:]}"
        self._horizon = Horizon()
        self._read_due = 0.0
        self._threads: ThreadPoolExecutor | None = None
        self._back: queue.SimpleQueue[claims.Sent] = queue.SimpleQueue()
        self._to_record: list[claims.Sent] = []
        self._under_way = 0

    def run(self, now: float) -> float | None:
        """One turn; gives when the next one is due, None while there is no subscription."""
        self._record(now)
        if not self._under_way and not Subscription.objects.exists():
            return None
        if now >= self._read_due or now < self._read_due - QUIET:  # the latter: the clock was set back
            more = reader.read_on(self._horizon.look(), now)
            self._read_due = now if more else now + (BUSY if self._horizon.waiting else QUIET)
        self._send_for_a_while(now)
        return min(self._read_due, now + BUSY) if self._under_way else self._read_due

    def _send_for_a_while(self, now: float) -> None:
        """While answers come quickly, go on at once: but the keeper has other duties."""
        end = time.monotonic() + SLICE
        self._send(now)
        while self._under_way and time.monotonic() < end:
            try:
                self._to_record.append(self._back.get(timeout=SLICE / 5))
            except queue.Empty:
                return
            self._under_way -= 1
            self._record(clock.now())
            self._send(clock.now())

    @property
    def busy(self) -> bool:
        """Something is on its way, or back and not recorded."""
        return bool(self._under_way or self._to_record)

    def finish(self) -> None:
        """Wait a little for what is under way, and record it; the rest is sent again when its lease is over."""
        end = time.monotonic() + LAST_WAIT
        while self._under_way and time.monotonic() < end:
            time.sleep(BUSY)
            self._record(clock.now())
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _record(self, now: float) -> None:
        """Kept in hand until it is committed: the database may be away."""
        while not self._back.empty():
            self._to_record.append(self._back.get())
            self._under_way -= 1
        while batch := self._to_record[:RECORDED_AT_ONCE]:
            claims.record(self.owner, batch, now, random.random)
            del self._to_record[: len(batch)]

    def _send(self, now: float) -> None:
        for delivery in _with_events(claims.claim(self.owner, THREADS - self._under_way, now)):
            self._post(delivery, now)

    def _post(self, delivery: Delivery, now: float) -> None:
        try:
            letter = write(delivery, now)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  one that cannot be written must not stop the others
            self._to_record.append(_unsent(delivery, error))
            return
        self._under_way += 1
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outbound")
        timeout = float(settings.OUTBOUND_TIMEOUT_SECONDS)
        work = self._threads.submit(post, letter, delivery=delivery.pk, fence=delivery.fence, timeout=timeout)
        work.add_done_callback(lambda done: self._back.put(_outcome(done, delivery)))


def _unsent(delivery: Delivery, error: Exception) -> claims.Sent:
    reason = str(error)
    if isinstance(error, OrchestraError):
        reason = error.message
    elif not isinstance(error, (httpx2.InvalidURL, ValueError)):
        logger.error("delivery %s cannot be written", delivery.pk, exc_info=error)
        reason = BROKE
    return claims.Sent(delivery.pk, delivery.fence, Answer(None, reason), withheld=isinstance(error, Withheld))


def _outcome(done: Future[claims.Sent], delivery: Delivery) -> claims.Sent:
    error = done.exception()
    if error is None:
        return done.result()
    logger.error("sending delivery %s broke", delivery.pk, exc_info=error)
    return claims.Sent(delivery.pk, delivery.fence, Answer(None, BROKE))


def _with_events(taken: list[Delivery]) -> list[Delivery]:
    events = RunEvent.objects.select_related("run__flow", "run__release").defer(
        "run__release__source", "run__release__plan_json", "run__input", "run__output", "run__trigger"
    )
    found = events.in_bulk([row.event_id for row in taken if row.event_id is not None])
    whole = [row for row in taken if row.event_id is None or row.event_id in found]  # or retention just took both
    for row in whole:
        if row.event_id is not None:
            row.event = found[row.event_id]
    return whole
