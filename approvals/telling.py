"""People are told of approvals that name them: once in five minutes and flow, however many are asked."""

from __future__ import annotations

from django.db import transaction

from approvals.models import ApprovalRequest
from approvals.veiled import veil_of
from resources.notices import people
from resources.notices.looking import Looks

_BURST = 300.0
_MOST = 100  # requests of one look


class Duty(Looks):
    def look(self, since: float, now: float) -> None:
        """A request that names nobody is everybody's: it is in the inbox only."""
        rows = ApprovalRequest.objects.filter(status="open", created_at__gt=since, run__isnull=False)
        if found := list(rows.select_related("run__flow", "run__release").order_by("created_at", "pk")[:_MOST]):
            with transaction.atomic():
                for request in found:
                    _tell(request, now)


def _tell(request: ApprovalRequest, now: float) -> None:
    named = {name: list(request.reviewers.get(name) or ()) for name in ("users", "groups")}
    if request.run is None or not (named["users"] or named["groups"]):
        return
    ids, _ = people.find(**named)
    excluded = set(request.excluded.values_list("pk", flat=True))
    people.tell(
        [pk for pk in ids[: people.MAX_PEOPLE] if pk not in excluded],
        key=f"approval:{request.run.flow.slug}:{int(request.created_at // _BURST)}",
        kind="approval",
        title=f"Your approval is asked: {veil_of(request).text(request.title)}"[:300],
        text="Others of this flow may wait for you, too: see the inbox.",
        url=f"/approvals/{request.pk}",
        now=now,
    )
