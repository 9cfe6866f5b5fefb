"""API v1: pausing a flow, and what is in line for it."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from flows.actions import visible_flow
from resources.api import Input, Text, actor_of, declared, iso
from runs import flow_actions, line

router = Router(tags=["flows"])


class GateOut(Schema):
    flow: str
    paused: bool
    mode: Literal["", "queue", "refuse"] = Field(description="What happens to starts while it is paused.")
    reason: str
    actor: str
    at: str | None
    queued: int = Field(description="Runs that have not begun; counted up to 10,000.")
    draining: str | None = Field(description="The release whose runs wait until those of older releases have ended.")


class PauseIn(Input):
    reason: Text = Field(max_length=1000, description="Why; whoever starts the flow is told.")
    mode: Literal["queue", "refuse"] = "queue"


class ResumeIn(Input):
    reason: Text = Field("", max_length=1000)


@router.get("/flows/{slug}/gate", response=declared((200, GateOut)))
def get_gate(request: HttpRequest, slug: str) -> dict[str, Any]:
    """Whether new runs of the flow begin, and how many wait."""
    return _gate(request, slug)


@router.post("/flows/{slug}/pause", response=declared((200, GateOut)))
def pause_flow(request: HttpRequest, slug: str, body: PauseIn) -> dict[str, Any]:
    """New runs wait, or are refused, until the flow is resumed. Runs that began go on."""
    flow_actions.pause_flow(actor=actor_of(request), slug=slug, reason=body.reason, mode=body.mode)
    return _gate(request, slug)


@router.post("/flows/{slug}/resume", response=declared((200, GateOut), errors=(409,)))
def resume_flow(request: HttpRequest, slug: str, body: ResumeIn | None = None) -> dict[str, Any]:
    """New runs begin again; those that waited are admitted, the oldest first."""
    flow_actions.resume_flow(actor=actor_of(request), slug=slug, reason=body.reason if body else "")
    return _gate(request, slug)


def _gate(request: HttpRequest, slug: str) -> dict[str, Any]:
    state = line.of_flow(visible_flow(actor_of(request), slug))
    return {**state, "flow": slug, "at": iso(state["at"])}
