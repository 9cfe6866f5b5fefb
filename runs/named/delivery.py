"""Taking an event: once by its id, waking every run that may wait for it, starting every flow it triggers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from flows.steps.wait.config import EVENT_NAME
from resources import audit
from resources.access import Actor, covers, require
from resources.errors import BadInput, TooLarge
from resources.fields import dumps
from resources.models import Role
from runs import bell, clock, store, waits
from runs.models import Work
from runs.named import matching, triggers
from runs.named.models import EventName, EventWait, NamedEvent
from runs.queue_rows import Line

Json = Any
MAX_ID: Final = 200
_FOLDER = re.compile(r"|[A-Za-z0-9][A-Za-z0-9 _./-]{0,199}")


@dataclass(frozen=True, slots=True)
class Taken:
    """`created` False: this id came before, its first body counts. `started`: what the event triggered."""

    event: NamedEvent
    created: bool
    started: Sequence[triggers.Started] = field(default=())


def deliver_event(*, actor: Actor, name: str, key: str, body: Json, folder: str = "") -> Taken:
    """Take an event for the flows in `folder` and below it.

    A repeat starts what the first one could not start, and nothing else.
    Raises NotAllowed, TooLarge `event_too_large`, BadInput `bad_event_name` | `bad_event_id` | `bad_folder`.
    """
    _check(name, key, folder)
    require(actor, Role.OPERATOR, folder)
    if len(dumps(body).encode()) > settings.MAX_INLINE_OUTPUT_BYTES:
        said = f"The body of an event has at most {settings.MAX_INLINE_OUTPUT_BYTES} bytes."
        raise TooLarge(said, code="event_too_large", hint="Send a link to it.")
    clock.measure(every=clock.TRUST)
    event, created = _take(actor, name, key, body, folder)
    return Taken(event, created, triggers.start_flows(event, name, actor.address))


def _check(name: str, key: str, folder: str) -> None:
    if not re.fullmatch(EVENT_NAME, name):
        raise BadInput("A name has 1 to 100 letters, digits or _.:@/-, and begins with one.", code="bad_event_name")
    if not 0 < len(key) <= MAX_ID:
        raise BadInput(f"The id of an event has 1 to {MAX_ID} characters.", code="bad_event_id")
    if not _FOLDER.fullmatch(folder):
        raise BadInput("There can be no folder of this name.", code="bad_folder")


@transaction.atomic
def _take(actor: Actor, name: str, key: str, body: Json, folder: str) -> tuple[NamedEvent, bool]:
    row = matching.lock_names([name])[name]
    found = NamedEvent.objects.filter(name=row, folder=folder, key=key).first()
    if found is not None:
        return found, False
    event = NamedEvent.objects.create(
        name=row, folder=folder, key=key, body=body, sender=actor.name[:150], received_at=clock.now()
    )
    _wake(row, folder, event.received_at)
    data = {"folder": folder, "id": key}
    audit.record(actor=actor, action="event.delivered", object_type="event", object_id=name, data=data)
    return event, True


def _wake(name: EventName, folder: str, now: float) -> None:
    """Have workers look whether it fits. No run is locked: a paused one is held back by the worker that looks."""
    rows = EventWait.objects.filter(name=name).order_by("run_id", "step", "item").values_list(
        "run_id", "step", "item", "run__release_id", "run__flow_id", "run__priority", "run__flow__folder"
    )  # fmt: skip
    concerned = {row[:3]: row for row in rows if covers(folder, row[6])}
    for run_id, step, item, release, flow, priority, _ in concerned.values():
        plan, line = store.plan_of(release), Line(flow, priority, now)
        waits.wake(plan, run_id, step, item, now, kind=Work.Kind.TIMER, name=matching.TIMER, held=False, line=line)
    if concerned:
        bell.ring_on_commit(bell.WORK)
