"""The log of the last deliveries. A call notes its outcome in memory; a thread writes what was noted, in batches.

So a delivery costs no write of its own, and a flood of refused calls writes a bounded number of rows. The price: what
was noted in the last half second before a process dies is not in the log. Runs and their history never depend on it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

from resources.errors import OrchestraError
from runs import clock
from runs.incoming.models import HookDelivery

logger = logging.getLogger(__name__)

#: of each hook, refused ones and all others apart
KEPT: Final = 50
#: seconds a delivery is kept at most
OLDEST: Final = 30 * 86400.0
#: seconds between two prunings
EVERY: Final = 60.0
#: noted and not yet written, in one process; more are dropped, the oldest first
PENDING: Final = 2000

_pending: deque[HookDelivery] = deque(maxlen=PENDING)
_noted = threading.Event()
_lock = threading.Lock()
_writer_of = 0  # the process whose thread writes; a fork has none


def note(
    flow_id: int, trigger: str, address: str, *, status: str, http: int, run_id: str = "", code: str = "", why: str = ""
) -> None:
    """Remember one outcome. Touches no database."""
    refused = status == HookDelivery.Status.REFUSED
    reason = why.replace("\0", "\ufffd")[:300]
    _pending.append(
        HookDelivery(
            flow_id=flow_id, trigger=trigger, at=clock.now(), status=status, refused=refused, http=http, code=code[:64],
            reason=reason, run_id=run_id, address=address[:64],
        )
    )  # fmt: skip
    if settings.HOOK_LOG_SECONDS:
        _start_writer()
        _noted.set()


def note_refusal(flow_id: int, trigger: str, address: str, error: OrchestraError) -> None:
    note(
        flow_id, trigger, address, status="refused", http=error.status, code=error.stable_code, why=error.message
    )  # fmt: skip


def flush() -> int:
    """Write what was noted, of each hook no more than is kept. Gives how many rows were written."""
    batch = list(_last(_taken()))
    try:
        HookDelivery.objects.bulk_create(batch)
    except DatabaseError as error:  # a flow was deleted meanwhile, or the database is away: runs are not concerned
        logger.warning("%d deliveries are missing in the log: %s", len(batch), error)
        return 0
    return len(batch)


def prune(now: float) -> float:
    """The keeper's duty. Gives when it is due next."""
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, {"kept": KEPT, "oldest": now - OLDEST})
    return now + EVERY


_PRUNE = """
DELETE FROM runs_hookdelivery WHERE at < %(oldest)s OR id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER (PARTITION BY flow_id, trigger, refused ORDER BY id DESC) AS place
      FROM runs_hookdelivery
  ) AS ranked WHERE place > %(kept)s
)
"""


def _taken() -> Iterable[HookDelivery]:
    while _pending:
        yield _pending.popleft()


def _last(noted: Iterable[HookDelivery]) -> Iterable[HookDelivery]:
    """The last KEPT of each hook and kind, in the order they came."""
    seen: Counter[tuple[int, str, bool]] = Counter()
    kept: list[HookDelivery] = []
    for one in reversed(list(noted)):
        key = (one.flow_id, one.trigger, one.refused)
        seen[key] += 1
        if seen[key] <= KEPT:
            kept.append(one)
    return reversed(kept)


def _start_writer() -> None:
    global _writer_of
    if _writer_of == os.getpid():
        return
    with _lock:
        if _writer_of != os.getpid():
            _writer_of = os.getpid()
            threading.Thread(target=_write_on, daemon=True, name="hook-log").start()


def _write_on() -> None:
    while True:
        _noted.wait()
        time.sleep(settings.HOOK_LOG_SECONDS)
        _noted.clear()
        connection.close_if_unusable_or_obsolete()
        flush()
