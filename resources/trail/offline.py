"""An export of the audit log, checked without the database it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from resources import audit
from resources.errors import BadInput
from resources.models import AuditEntry
from resources.trail.export import read


@dataclass(slots=True)
class Verified:
    """`first`, `last`: numbers of the entries read, 0 for none; `hash`: of the last one."""

    first: int = 0
    last: int = 0
    count: int = 0
    hash: str = audit.GENESIS
    findings: list[audit.Finding] = field(default_factory=list)


def anchor_of(text: str) -> tuple[int, str] | None:
    """NUMBER:HASH as noted; None for "". Raises BadInput."""
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if text and not found:
        message = "An anchor is NUMBER:HASH, as verifying prints it."
        raise BadInput(message, details=[{"path": "anchor", "message": message}])
    return (int(found[1]), found[2]) if found else None


def verify(file: Iterable[str], *, selection: bool = False, anchor: tuple[int, str] | None = None) -> Verified:
    """What an export holds and what is wrong with it. `selection`: it was filtered, so only each entry by itself can
    be checked, not what is missing between them. `anchor`: number and hash that must be in it: shows a cut-off end.

    Raises BadInput `bad_export`.
    """
    done = Verified()
    missed = [anchor] if anchor else []
    entries = _watched(read(file), done, missed)
    if selection:
        done.findings += [audit.edited(entry) for entry in entries if entry.hash != audit.digest(entry)]
    else:
        done.findings += _linked(entries)
    for seq, _ in missed:
        done.findings.append(audit.Finding(seq, "truncated", f"Entry {seq} with the hash noted is not in the file."))
    return done


def _watched(entries: Iterator[AuditEntry], done: Verified, missed: list[tuple[int, str]]) -> Iterator[AuditEntry]:
    for entry in entries:
        done.first = done.first or entry.seq
        done.last, done.hash, done.count = entry.seq, entry.hash, done.count + 1
        if (entry.seq, entry.hash) in missed:
            missed.clear()
        yield entry


def _linked(entries: Iterator[AuditEntry]) -> Iterator[audit.Finding]:
    """An export may begin later than the log: what its first entry says came before it is believed, but for entry 1."""
    first = next(entries, None)
    if first is None:
        return
    start = (0, audit.GENESIS) if first.seq <= 1 else (first.seq - 1, first.previous_hash)
    yield from audit.links(_again(first, entries), [start])


def _again(first: AuditEntry, others: Iterator[AuditEntry]) -> Iterator[AuditEntry]:
    yield first
    yield from others
