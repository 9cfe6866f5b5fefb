"""What a person's inbox holds. Every list and count is one query, however many requests there are."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from approvals import facts, policy
from approvals.models import ApprovalRequest, Decision, NamedReviewer
from resources.access import Actor, folder_filter

Requests = QuerySet[ApprovalRequest]


def visible(actor: Actor) -> Requests:
    """Requests in folders this person may see."""
    return ApprovalRequest.objects.filter(folder_filter(actor, "viewer"))


def mine_now(actor: Actor, now: float) -> Requests:
    """Open requests this person may decide and has not, most urgent first. `now`: epoch seconds."""
    if actor.kind not in facts.PEOPLE or actor.user is None:
        return ApprovalRequest.objects.none()
    named = NamedReviewer.objects.filter(request=OuterRef("pk"))
    me = Q(kind="user", name=actor.user.get_username())
    mine = named.filter(me | Q(kind="group", name__in=actor.user.groups.values("name")))
    excluded = ApprovalRequest.excluded.through.objects.filter(approvalrequest_id=OuterRef("pk"), user_id=actor.user.pk)
    return _urgent(
        _open(now)
        .filter(folder_filter(actor, "reviewer"))
        .filter(~Exists(named) | Exists(mine))
        .exclude(Exists(excluded))
        .exclude(Exists(_own_votes(actor)))
    )


def waiting_on_others(actor: Actor, now: float) -> Requests:
    """Open requests this person sees and cannot (or need not any more) decide."""
    return _urgent(visible(actor).filter(status="open").exclude(pk__in=mine_now(actor, now).order_by().values("pk")))


def done_today(actor: Actor, now: float) -> Requests:
    """Requests closed since midnight of the server's time zone, latest first."""
    moment = datetime.fromtimestamp(now, UTC).astimezone(timezone.get_default_timezone())
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return visible(actor).exclude(status="open").filter(closed_at__gte=midnight).order_by("-closed_at")


def counts(actor: Actor, now: float) -> dict[str, int]:
    """{"mine", "others", "done"}: three queries."""
    lists = {"mine": mine_now, "others": waiting_on_others, "done": done_today}
    return {name: query(actor, now).order_by().count() for name, query in lists.items()}


def refusal_of(request: ApprovalRequest, actor: Actor) -> policy.Refusal | None:
    """Why this person may not decide this request, for the page; None: may."""
    return policy.refusal(facts.question_of(request), facts.person_of(actor, request.folder))


def standing_of(request: ApprovalRequest) -> policy.Standing:
    """What the votes so far amount to."""
    return policy.standing(facts.question_of(request), facts.votes_of(request))


def _open(now: float) -> Requests:
    return ApprovalRequest.objects.filter(status="open").exclude(expires_at__lte=now)


def _own_votes(actor: Actor) -> QuerySet[Decision]:
    """Votes of this person that count: those for the action as it is now."""
    return Decision.objects.filter(request=OuterRef("pk"), person=actor.user.pk, digest=OuterRef("digest"))


def _urgent(requests: Requests) -> Requests:
    return requests.order_by(F("expires_at").asc(nulls_last=True), "created_at")
