"""Resources that the votes on open approvals name: what a reviewer wrote into the form, before the last vote is in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from approvals.models import ApprovalRequest, Decision
from resources import holding
from resources.fields import dumps


def by_votes(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    rows = Decision.objects.filter(request__status=ApprovalRequest.Status.OPEN).exclude(form={})
    wanted, found = set(ids), dict[str, str]()
    field: Any = Decision._meta.get_field("form")
    for request, form in rows.values_list("request_id", "form").iterator(chunk_size=200):
        found |= dict.fromkeys(wanted & holding.named(dumps(field.read(form, request))), f"the approval {request}")
    return found
