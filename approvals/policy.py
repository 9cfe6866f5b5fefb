"""Who may decide, and what the votes so far amount to. Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["approve", "reject"]
Outcome = Literal["open", "approved", "rejected"]

_EXCLUDED = {
    "starter": "You started this run, so somebody else must decide.",
    "author": "You released this version of the flow, so somebody else must decide.",
}


@dataclass(frozen=True, slots=True)
class Question:
    """The facts of a request. `excluded`: person id -> why ("starter" | "author"). Times are epoch seconds."""

    status: str
    digest: str
    quorum: int = 1
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    excluded: Mapping[int, str] = field(default_factory=dict)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """`reviews`: has the reviewer role on the request's folder. `signed_in`: a user or a user's token."""

    id: int
    name: str
    groups: frozenset[str] = frozenset()
    reviews: bool = False
    signed_in: bool = True


@dataclass(frozen=True, slots=True)
class Vote:
    person: int
    name: str
    verdict: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """`approvals`: names that count, in the order they voted. `void`: names whose vote was for another action."""

    outcome: Outcome
    approvals: tuple[str, ...]
    rejection: str
    void: tuple[str, ...]
    missing: int


def refusal(question: Question, person: Person) -> Refusal | None:
    """Why this person may never decide this request, or None. Roles and names; not time, not votes."""
    if not person.signed_in:
        return Refusal("not_a_person", "Only a signed-in person can decide. A trigger or a system task cannot.")
    if not person.reviews:
        return Refusal("not_a_reviewer", "You do not have the reviewer role here.")
    named = question.users or question.groups
    if named and person.name not in question.users and not (person.groups & question.groups):
        return Refusal("not_a_reviewer", "This request names its reviewers, and you are not among them.")
    why = question.excluded.get(person.id)
    if why is not None:
        return Refusal(f"excluded_{why}", _EXCLUDED.get(why, "You are excluded from deciding this request."))
    return None


def closed(question: Question, now: float) -> str:
    """The status that ends the request, or "" while it can be decided. Recorded time decides, not the timer."""
    if question.status != "open":
        return question.status
    if question.expires_at is not None and now >= question.expires_at:
        return "expired"
    return ""


def vote_of(votes: Iterable[Vote], person: int, digest: str) -> Vote | None:
    """This person's vote on this very action."""
    return next((v for v in votes if v.person == person and v.digest == digest), None)


def standing(question: Question, votes: Iterable[Vote]) -> Standing:
    """One rejection rejects. A quorum is distinct people who approved the action as it is now."""
    ordered = sorted(votes, key=lambda v: v.at)
    current: dict[int, str] = {}
    others: dict[int, str] = {}
    rejection = ""
    for vote in ordered:
        if vote.verdict == "reject":
            rejection = rejection or vote.name
        elif vote.digest == question.digest:
            current[vote.person] = vote.name
        else:
            others[vote.person] = vote.name
    void = tuple(name for person, name in others.items() if person not in current)
    missing = max(0, question.quorum - len(current))
    outcome: Outcome = "rejected" if rejection else "open" if missing else "approved"
    return Standing(outcome, tuple(current.values()), rejection, void, missing)
