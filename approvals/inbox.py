"""Which requests somebody sees, and in which group: yours now, waiting on others, done today.

A page keeps its order while it is open. It passes `at`, the moment it was made: requests and votes after it change
rows but move none, and requests that came after it are counted, not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.db.models import F, Q, QuerySet

from approvals.facts import person_of, question_of
from approvals.models import ApprovalRequest, Decision
from approvals.policy import Person, Question, Refusal, Standing, Vote, refusal, standing
from approvals.veiled import show_all
from resources.access import Actor, can, folder_filter

LIMIT = 200  # rows of one group; above it the list says so
OPEN = ApprovalRequest.Status.OPEN


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as one person sees it. `votes`: in the order they were cast; `why_not`: why they
    may not decide; `mine`: their vote on the action as it is now."""

    request: ApprovalRequest
    decisions: tuple[Decision, ...]
    question: Question
    standing: Standing
    why_not: Refusal | None
    mine: Decision | None

    @property
    def yours(self) -> bool:
        return self.request.status == OPEN and self.why_not is None and self.mine is None


@dataclass(frozen=True, slots=True)
class Inbox:
    yours: list[Entry]
    others: list[Entry]
    done: list[Entry]
    new: int
    at: float


def visible(actor: Actor) -> QuerySet[ApprovalRequest]:
    """Requests in folders the actor may view, with all that a row shows, in a fixed number of queries."""
    rows = ApprovalRequest.objects.filter(folder_filter(actor, "viewer"))
    rows = rows.select_related("run__flow", "run__release", "run__starter", "previous")
    rows = rows.defer("previous__actions", "run__release__source", "run__release__plan_json")
    return rows.prefetch_related("decisions__person", "excluded")


def entry_of(request: ApprovalRequest, actor: Actor, person: Person | None = None) -> Entry:
    """`person`: the actor as a person, with any folder; made here when not given."""
    someone = person or person_of(actor, request.folder)
    someone = replace(someone, reviews=can(actor, "reviewer", request.folder))
    question = question_of(request)
    decisions = tuple(sorted(request.decisions.all(), key=lambda d: (d.at, d.pk)))
    votes = [Vote(d.person_id, d.person.get_username(), d.verdict, d.digest, d.at) for d in decisions]
    mine = next((d for d in decisions if d.person_id == someone.id and d.digest == request.digest), None)
    return Entry(request, decisions, question, standing(question, votes), refusal(question, someone), mine)


def inbox_of(actor: Actor, *, now: float, at: float | None = None, midnight: float = 0.0) -> Inbox:
    """`at`: epoch seconds of the page being refreshed, None for a new page. `midnight`: when today began."""
    standing_then = Q(status=OPEN) if at is None else _standing_at(at)
    urgent = visible(actor).filter(standing_then).order_by(F("expires_at").asc(nulls_last=True), "id")
    rows = _entries(actor, urgent[:LIMIT])
    # the database's clock may be ahead of this host's: what is shown now is not new later
    moment = max([now, *(e.request.created_at for e in rows)]) if at is None else at
    if not rows and at is not None:  # an empty list has nothing that could move
        return inbox_of(actor, now=now, midnight=midnight)
    yours = [e for e in rows if _was_yours(e, moment)]
    others = [e for e in rows if not _was_yours(e, moment)]
    closed = visible(actor).filter(closed_at__gte=midnight, closed_at__lte=moment).order_by("-closed_at", "-id")
    new = 0 if at is None else visible(actor).filter(status=OPEN, created_at__gt=moment).count()
    return Inbox(yours, others, _entries(actor, closed[:50]), new, moment)


def _standing_at(moment: float) -> Q:
    return Q(created_at__lte=moment) & (Q(status=OPEN) | Q(closed_at__gt=moment))


def _entries(actor: Actor, rows: Any) -> list[Entry]:
    found = show_all(rows)
    if not found:
        return []
    person = person_of(actor, "")
    return [entry_of(row, actor, person) for row in found]


def _was_yours(entry: Entry, moment: float) -> bool:
    voted = entry.mine is not None and entry.mine.at <= moment
    return entry.why_not is None and not voted
