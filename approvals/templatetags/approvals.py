"""What pages of lower layers show of approvals: a template may reach up where code may not."""

from __future__ import annotations

from typing import Any

from django import template

from approvals.inbox import entry_of
from approvals.models import ApprovalRequest
from approvals.veiled import show_all
from resources.access import Actor

register = template.Library()


@register.inclusion_tag("approvals/_run_banner.html", takes_context=True)
def run_banner(context: dict[str, Any], run_id: str) -> dict[str, Any]:
    """The open requests of a run, and what each still needs."""
    actor = Actor.of(context["request"])
    rows = ApprovalRequest.objects.filter(run_id=run_id, status="open").select_related("run__flow", "run__release")
    rows = rows.defer("run__release__source", "run__release__plan_json")
    rows = rows.prefetch_related("decisions__person", "excluded").order_by("created_at")[:5]
    return {
        "entries": [entry_of(row, actor) for row in show_all(rows)],
        "now": context.get("now"),
        "user": context.get("user"),
    }
