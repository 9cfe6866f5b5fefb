"""Which entries of the audit log are asked for. It belongs to the whole installation: admins of everything read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from resources import audit
from resources.access import Actor, require
from resources.errors import NotFound
from resources.models import AuditEntry, AuditHead, Role
from resources.paging import Page, decode_cursor, encode_cursor
from resources.payloads import BOUND


@dataclass(frozen=True, slots=True)
class Asked:
    """ "" and None: not asked for. `action`: whole ("flow.moved"), or all that begin with a word ("flow."). `address`:
    its beginning. `q`: part of the object's id or of data that is not sealed, in any case. Times: epoch seconds."""

    actor: str = ""
    action: str = ""
    object_type: str = ""
    object_id: str = ""
    address: str = ""
    q: str = ""
    since: float | None = None
    before: float | None = None

    @property
    def narrowed(self) -> bool:
        return self != Asked()


def entries(actor: Actor, asked: Asked) -> QuerySet[AuditEntry]:
    """In no order yet. Raises NotAllowed."""
    require(actor, Role.ADMIN)
    rows = AuditEntry.objects.all()
    for name in ("actor", "object_type", "object_id"):
        if getattr(asked, name):
            rows = rows.filter(**{name: getattr(asked, name)})
    if asked.action:
        rows = rows.filter(**{"action__startswith" if asked.action.endswith(".") else "action": asked.action})
    if asked.address:
        rows = rows.filter(address__startswith=asked.address)
    if asked.since is not None:
        rows = rows.filter(at__gte=_time(asked.since))
    if asked.before is not None:
        rows = rows.filter(at__lt=_time(asked.before))
    return _said(rows, asked.q) if asked.q else rows


def _said(rows: QuerySet[AuditEntry], q: str) -> QuerySet[AuditEntry]:
    """The data is searched as the text it is kept as, so `q` is written as JSON writes it."""
    written = json.dumps(q, ensure_ascii=False)[1:-1]
    rows = rows.annotate(text=Cast("data", TextField()))
    in_the_open = ~Q(text__startswith=BOUND)  # sealed data is not searched
    return rows.filter(Q(object_id__icontains=q) | Q(text__icontains=written) & in_the_open)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def page(rows: QuerySet[AuditEntry], *, cursor: str | None, limit: int) -> Page[AuditEntry]:
    """The newest first. Raises BadInput `bad_cursor`."""
    if cursor:
        rows = rows.filter(seq__lt=decode_cursor(cursor, int)[0])
    found = audit.read(rows.order_by("-seq")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].seq) if len(found) > limit else None)


def entry(actor: Actor, seq: int) -> AuditEntry:
    """Raises NotAllowed, NotFound."""
    require(actor, Role.ADMIN)
    found = audit.read(AuditEntry.objects.filter(seq=seq)) if 0 < seq < 2**63 else []
    if not found:
        raise NotFound("The audit log has no such entry.")
    return found[0]


def glance(shown: list[AuditEntry]) -> list[audit.Finding]:
    """What is wrong with the entries shown and with the end of the log: cheap enough for every look at the page.
    The whole chain is `audit.verify`."""
    found = [audit.edited(row) for row in shown if row.hash != audit.digest(row)]
    head = AuditHead.objects.filter(pk=1).first()
    top = next(iter(audit.read(AuditEntry.objects.order_by("-seq")[:1])), None)
    if top is None and head is None:
        return found
    if head is None:
        return [*found, audit.Finding(top.seq if top else 0, "head", "The head row is missing.")]
    seq, last = (top.seq, top.hash) if top else (0, audit.GENESIS)
    if seq < head.seq:
        message = f"The log ends at {seq}, but {head.seq} entries were written."
        return [*found, audit.Finding(head.seq, "truncated", message)]
    if seq == head.seq and last != head.hash:
        return [*found, audit.Finding(seq, "head", f"Entry {seq} is not the one the head names.")]
    return found  # past the head may be one that was recorded since the head was read
