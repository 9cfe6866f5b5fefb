"""The audit log: what people changed, hash-chained, so that a change of the past shows.

Each entry's hash covers all its fields and the hash before it. The head row keeps the last number and
hash, which shows a cut-off tail, and its lock keeps the numbers without a gap. Only mutations by people are
recorded here; what a run does is in its own history and never waits for this lock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from resources.access import Actor
from resources.crypto import CannotDecrypt, KeyMissing
from resources.errors import OrchestraError
from resources.fields import dumps
from resources.models import AuditEntry, AuditHead

GENESIS = "0" * 64


class AuditBroken(OrchestraError):
    """The audit log has entries but lost its head: nothing may be added until a person has looked."""

    code = "audit_broken"
    status = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where the log is not what was written. kind: edited | missing | unlinked | truncated | added | head."""

    seq: int
    kind: str
    message: str


def digest(entry: AuditEntry) -> str:
    """SHA-256 (hex) over the canonical JSON (sorted keys, ASCII) of all fields but the hash itself."""
    fields = {
        "v": 1,
        "seq": entry.seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "actor_kind": entry.actor_kind,
        "address": entry.address,
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "data": entry.data,
        "previous_hash": entry.previous_hash,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _locked_head() -> AuditHead:
    """The head row, locked until the transaction ends; made for the very first entry."""
    head = AuditHead.objects.select_for_update().filter(pk=1).first()
    if head is not None:
        return head
    if AuditEntry.objects.exists():
        head = AuditHead.objects.select_for_update().filter(pk=1).first()
        if head is not None:
            return head  # somebody else's first entry came with its head after we had looked for one
        raise AuditBroken("The audit log lost its head row.", hint="Run `manage.py verify_audit` and restore a backup.")
    AuditHead.objects.bulk_create([AuditHead(seq=0, hash=GENESIS)], ignore_conflicts=True)
    return AuditHead.objects.select_for_update().get(pk=1)


def record(
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: str,
    data: Mapping[str, Any],
    now: datetime | None = None,
) -> AuditEntry:
    """Append an entry in the caller's transaction, as its last statement: the head's lock comes last of all locks.

    `data` is JSON and never holds a secret. Raises RuntimeError outside a transaction, ValueError for data
    that is not JSON, AuditBroken when the head is lost.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("audit.record belongs into the transaction of the change it records")
    head = _locked_head()
    entry = AuditEntry(
        seq=head.seq + 1,
        at=now or timezone.now(),
        actor=actor.name[:150],
        actor_kind=actor.kind,
        address=actor.address[:64],
        action=action,
        object_type=object_type,
        object_id=object_id[:100],
        data=json.loads(dumps(data)),  # as it will be read back, so that the hash stays true
        previous_hash=head.hash,
    )
    entry.hash = digest(entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=1).update(seq=entry.seq, hash=entry.hash)
    return entry


#: the time of an entry whose own time can no longer be read
_NEVER = datetime.fromtimestamp(0, UTC)
_UNREADABLE = {"unreadable": "It was changed from outside."}
_BATCH = 1000


def read(query: QuerySet[AuditEntry]) -> list[AuditEntry]:
    """The entries of a bounded query. One that was changed so that it cannot be read at all stands there with data that
    says so, and is not what was written: a single edit must not hide all others."""
    try:
        found = list(query)
    except (ValueError, TypeError, RecursionError):
        found = [_readable(pk) for pk in query.values_list("pk", flat=True)]
    for entry in found:
        entry.at = cast("datetime | None", entry.at) or _NEVER  # SQLite: it is no time any more
        entry.data = _data_of(entry)
    return found


def _data_of(entry: AuditEntry) -> dict[str, Any]:
    """Sealed data is opened by being looked at. Raises KeyMissing: whoever has the key can still read it."""
    try:
        return entry.data if isinstance(entry.data, dict) else dict(_UNREADABLE)
    except KeyMissing:
        raise
    except CannotDecrypt:
        return dict(_UNREADABLE)


def _readable(pk: int) -> AuditEntry:
    try:
        return AuditEntry.objects.get(pk=pk)
    except (ValueError, TypeError, RecursionError):
        names = [f.attname for f in AuditEntry._meta.concrete_fields if f.attname not in ("at", "data")]
        kept = AuditEntry.objects.values(*names).get(pk=pk)
        return AuditEntry(**kept, at=_NEVER, data=None)


def _in_order(query: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    last = -(2**63)
    while found := read(query.filter(seq__gt=last).order_by("seq")[:_BATCH]):
        yield from found
        last = found[-1].seq


def edited(entry: AuditEntry) -> Finding:
    return Finding(entry.seq, "edited", f"Entry {entry.seq} is not what was written.")


def links(entries: Iterator[AuditEntry], end: list[tuple[int, str]]) -> Iterator[Finding]:
    """Findings within the chain; leaves (seq, hash) of the last entry in `end`."""
    seq, previous = end[0]
    for entry in entries:
        if entry.seq != seq + 1:
            yield Finding(entry.seq, "missing", f"Entries {seq + 1} to {entry.seq - 1} are missing.")
        elif entry.previous_hash != previous:
            message = f"Entry {entry.seq} does not follow entry {seq}: one of them was replaced or put in."
            yield Finding(entry.seq, "unlinked", message)
        if entry.hash != digest(entry):
            yield edited(entry)
        seq, previous = entry.seq, entry.hash
        end[0] = (seq, previous)


def _against_head(head: AuditHead, seq: int, last_hash: str) -> Iterator[Finding]:
    if seq < head.seq:
        yield Finding(head.seq, "truncated", f"The log ends at {seq}, but {head.seq} entries were written.")
    elif last_hash != head.hash:
        yield Finding(seq, "head", f"Entry {seq} is not the one the head names.")
    # one statement, so one snapshot: an entry recorded right now comes together with its head
    added = AuditEntry.objects.filter(seq__gt=AuditHead.objects.filter(pk=1).values("seq")[:1])
    for extra in added.values_list("seq", flat=True):
        yield Finding(extra, "added", f"Entry {extra} was added past the head.")


def verify(*, anchor: tuple[int, str] | None = None) -> list[Finding]:
    """Everything wrong with the log, in order; [] when it is whole. Takes no lock: people go on working.

    `anchor`: number and hash of an entry as noted outside this database. Whoever can rewrite all rows can
    rewrite the head as well; only a hash kept elsewhere shows that.
    """
    top = AuditHead.objects.filter(pk=1).first()
    entries = AuditEntry.objects.all()
    end = [(0, GENESIS)]
    findings = list(links(_in_order(entries.filter(seq__lte=top.seq) if top else entries), end))
    if top:
        findings += _against_head(top, *end[0])
    elif end[0][0]:
        findings.append(Finding(end[0][0], "head", "The head row is missing: a cut-off tail would not show."))
    if anchor and not AuditEntry.objects.filter(seq=anchor[0], hash=anchor[1]).exists():
        findings.append(Finding(anchor[0], "edited", f"Entry {anchor[0]} does not have the hash that was noted."))
    return findings


def head() -> tuple[int, str]:
    """Number and hash of the last entry: what to note elsewhere."""
    row = AuditHead.objects.filter(pk=1).first()
    return (row.seq, row.hash) if row else (0, GENESIS)
