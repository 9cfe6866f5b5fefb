"""API v1: the webhooks of a flow, how to sign for them, and what came lately."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from flows.actions import visible_flow
from resources.api import actor_of, declared, iso
from runs.flow_pages import live_plan_of
from runs.incoming import pages

router = Router(tags=["flows"])


class HookDeliveryOut(Schema):
    at: str
    status: str = Field(description="started | duplicate | skipped | ignored | answered | refused")
    http: int = Field(description="The status of the answer.")
    code: str = Field(description="Of a refusal.")
    reason: str
    run: str | None
    address: str


class HookOut(Schema):
    name: str
    url: str
    verify: str
    proof: str = Field(description="What is checked, as a sentence.")
    secret: str | None = Field(description="The secret's name.")
    allow: list[str] = Field(description="Addresses that may call; none: all.")
    tolerance: float | None = Field(description="Seconds a signed time may be off.")
    wait: float | None = Field(description="Seconds a call waits for its run.")
    sign: str = Field(description="A shell script that signs and sends a delivery.")
    deliveries: list[HookDeliveryOut] = Field(description="The last 20, the newest first.")


class HooksOut(Schema):
    items: list[HookOut]


@router.get("/flows/{slug}/hooks", response=declared((200, HooksOut)))
def list_hooks(request: HttpRequest, slug: str) -> dict[str, Any]:
    """The webhooks of the live release."""
    flow = visible_flow(actor_of(request), slug)
    return {"items": [_hook(hook) for hook in pages.of_flow(flow, live_plan_of(flow))]}


def _hook(hook: dict[str, Any]) -> dict[str, Any]:
    return {**hook, "deliveries": [_delivery(seen["row"]) for seen in hook["deliveries"]]}


def _delivery(row: Any) -> dict[str, Any]:
    return {
        "at": iso(row.at), "status": row.status, "http": row.http, "code": row.code, "reason": row.reason,
        "run": row.run_id or None, "address": row.address,
    }  # fmt: skip
