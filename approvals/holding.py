"""Which resources open approvals hold: those that their reviewers are shown."""

from __future__ import annotations

from collections.abc import Collection

from approvals.models import ApprovalRequest
from resources import holding


def by_requests(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    texts = [
        (
            f"SELECT 'the approval ' || id, {column} FROM approvals_approvalrequest "  # noqa: S608  our own names
            f"WHERE status = %s AND {column} LIKE %s",
            [ApprovalRequest.Status.OPEN.value, "%res://%"],
        )
        for column in ("title", "summary", "actions", "form_schema")
    ]
    return holding.named_in(texts, ids)
