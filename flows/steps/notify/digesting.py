"""The keeper's duty that sends digests: claims what is due, and says what became of it.

Threads send, each with a connection of its own to the database; the keeper only hands out and goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from django.conf import settings as django_settings
from django.db import DatabaseError, connection

from flows.steps.notify import mail, together
from flows.steps.notify.sending import ITS_FAULT, by_apprise
from resources import connections, health
from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.kinds.notify import AppriseSettings, SmtpSettings
from resources.limits import passing
from resources.markdown import html_of
from resources.models import NoticeDigest
from resources.not_sent import NotSent
from resources.notices import digests
from resources.stop import Stop

logger = logging.getLogger(__name__)

THREADS: Final = 4
#: seconds that one digest may take, less than the lease of its sender
SECONDS: Final = 60.0
#: seconds to the next look while something is under way, and what is waited for at the end
BUSY: Final = 0.2
LAST_WAIT: Final = 5.0


class Duty:
    """One a process. `turn` hands out what is due; gives when it is due next, None: when something is."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: set[Future[None]] = set()
        self._stop = Stop()

    def turn(self, now: float) -> float | None:
        self._under_way = {one for one in self._under_way if not one.done()}
        while len(self._under_way) < THREADS and (row := digests.claim(now)) is not None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="digests")
            self._under_way.add(self._threads.submit(_alone, row, now, self._stop))
        return now + BUSY if self._under_way else None

    def finish(self) -> None:
        """Wait a little for what is under way; what is stopped before it was handed over goes out later."""
        end = time.monotonic() + LAST_WAIT
        while any(not one.done() for one in self._under_way) and time.monotonic() < end:
            time.sleep(0.05)
        self._stop.set()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)


def _alone(row: NoticeDigest, now: float, stop: Stop) -> None:
    """In a thread: nothing comes out of it, since nobody looks at what does; the lease brings back what is lost."""
    try:
        send(row, now, stop)
    except DatabaseError as error:
        logger.warning("digest %s lost the database; its lease brings it back: %s", row.pk, error)
    except Exception:
        logger.exception("digest %s broke; its lease brings it back", row.pk)
    finally:
        connection.close()


def send(row: NoticeDigest, now: float, stop: Stop) -> None:
    """One claimed digest, at `now` (epoch seconds); its row says what became of it."""
    began = time.monotonic()

    def clock() -> float:
        return now + time.monotonic() - began

    try:
        _send(row, now, stop, clock)
    except digests.Lost:
        logger.info("digest %s was taken by another sender", row.pk)


def _send(row: NoticeDigest, now: float, stop: Stop, clock: Callable[[], float]) -> None:
    ref: ConnectionRef | None = None
    try:
        ref = connections.resolve(row.connection)
        done = _by(row, ref, now, stop)
    except NotSent as error:
        _failed(row, ref, error, clock())
    except OrchestraError as error:
        _failed(row, ref, NotSent("refused", f"{row.connection}: {error.message}"), clock())
    else:
        digests.end(row, "sent", clock(), **done)
        health.note_use(ref.id, clock())


def _failed(row: NoticeDigest, ref: ConnectionRef | None, error: NotSent, now: float) -> None:
    held = isinstance(error, passing.Held)
    if error.again and (row.repeat or not error.unknown):
        digests.later(row, now, error=error.message, tried=not held)
    else:
        digests.end(row, "unknown" if error.unknown else "failed", now, error=error.message)
    if ref is not None and not held:
        health.note_use(ref.id, now, error.message if error.cls in ITS_FAULT else "")


def _by(row: NoticeDigest, ref: ConnectionRef, now: float, stop: Stop) -> dict[str, Any]:
    """What the record says of it. Raises NotSent, OrchestraError, digests.Lost."""
    found = [together.Part(one.title, one.text, one.at, _url(one.run_id)) for one in digests.parts(row)]
    whole = together.compose(found, row.count)

    def handed() -> None:
        digests.hand_over(row)

    with passing.through(ref, now):
        if isinstance(ref.settings, SmtpSettings):
            return _by_smtp(row, ref, ref.settings, whole, now, stop, handed)
        if not isinstance(ref.settings, AppriseSettings):
            raise NotSent("refused", f"The connection {ref.name} carries no messages any more.")
        handed()
        by_apprise(ref, ref.settings, whole.title, whole.text, key=_key(row), seconds=SECONDS, stop=stop)
    return {}


def _by_smtp(
    row: NoticeDigest, ref: ConnectionRef, settings: SmtpSettings, whole: together.Whole, now: float, stop: Stop,
    handed: Callable[[], None],
) -> dict[str, Any]:  # fmt: skip
    from resources import smtp_client

    message_id = mail.message_id(_key(row), settings.sender)
    letter = mail.letter(settings, row.to, row.cc, whole.title, message_id, now)
    mail.fill(letter, whole.text, "<hr>".join(map(html_of, whole.texts)))
    to = list(dict.fromkeys([*row.to, *row.cc]))
    refused = smtp_client.send(
        smtp_client.access_of(ref), settings.sender, to, letter.as_bytes(), seconds=SECONDS, stop=stop, handed=handed
    )
    return {"message_id": message_id, "refused": [{"to": r.to, "said": r.said} for r in refused]}


def _key(row: NoticeDigest) -> str:
    """Of what it sends: the same for every try of this digest."""
    return f"digest:{row.pk}:{row.identity[:16]}"


def _url(run_id: str) -> str:
    return f"{django_settings.PUBLIC_URL}/runs/{run_id}" if run_id else ""
