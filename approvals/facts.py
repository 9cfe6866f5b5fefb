"""Rows -> the facts that the policy judges."""

from __future__ import annotations

from approvals.models import ApprovalRequest
from approvals.policy import Person, Question, Vote
from resources.access import Actor, can

PEOPLE = {"user", "token"}  # a token acts as its user; triggers and the system never decide


def question_of(request: ApprovalRequest) -> Question:
    """Reads `excluded` and the run's starter: prefetch them for lists."""
    return Question(
        status=request.status,
        digest=request.digest,
        quorum=request.quorum,
        users=frozenset(request.reviewers.get("users", ())),
        groups=frozenset(request.reviewers.get("groups", ())),
        excluded=_excluded(request),
        expires_at=request.expires_at,
    )


def _excluded(request: ApprovalRequest) -> dict[int, str]:
    starter = request.run.starter_id if request.run else None
    return {user.pk: "starter" if user.pk == starter else "author" for user in request.excluded.all()}


def votes_of(request: ApprovalRequest) -> list[Vote]:
    """In the order they were cast."""
    rows = request.decisions.select_related("person").order_by("at", "pk")
    return [Vote(d.person_id, d.person.get_username(), d.verdict, d.digest, d.at) for d in rows]


def person_of(actor: Actor, folder: str) -> Person:
    """The person behind an actor, as far as a request in `folder` is concerned."""
    user = actor.user
    if actor.kind not in PEOPLE or user is None or not user.is_active:
        return Person(id=0, name=actor.name, signed_in=False)
    return Person(
        id=user.pk,
        name=user.get_username(),
        groups=frozenset(user.groups.values_list("name", flat=True)),
        reviews=can(actor, "reviewer", folder),
    )
