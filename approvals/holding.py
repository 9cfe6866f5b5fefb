"""Which resources open approvals hold: those that their reviewers are shown."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from approvals.models import ApprovalRequest
from resources import holding


def by_requests(ids: Collection[str]) -> dict[str, str]:
    """A finder of resources.holding."""
    return holding.named_in(map(_texts_of, ("title", "summary", "actions", "form_schema")), ids)


def _texts_of(column: str) -> holding.Texts:
    field: Any = ApprovalRequest._meta.get_field(column)
    sql = (
        f"SELECT 'the approval ' || id, {column}, id FROM approvals_approvalrequest "  # noqa: S608  our own names
        f"WHERE status = %s AND {holding.naming(column)}"
    )
    return holding.Texts(sql, [ApprovalRequest.Status.OPEN.value, *holding.NAMING], field.payload)
