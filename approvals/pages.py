"""Rows -> what the inbox and the page of one request show, with a fixed number of queries."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from approvals import formfields, forms, veiled
from approvals.difference import difference, payload_of
from approvals.inbox import OPEN, Entry, entry_of, inbox_of, visible
from approvals.longtexts import texts_of
from approvals.models import ApprovalRequest
from approvals.policy import closed
from approvals.veiled import show, veil_of
from flows.definition.sensitive import blank
from resources.access import Actor
from resources.errors import NotFound
from resources.markdown import html_of
from runs.sensitive.veil import Veil

#: only of real links: in texts the renderer writes &quot;
_RESOURCE_LINK = re.compile(r'href="res://([0-9a-z]{26})"')
_LOOKS = {
    "open": ("human", "Waiting on human"),
    "approved": ("succeeded", "Approved"),
    "rejected": ("cancelled", "Rejected"),
    "expired": ("cancelled", "Expired"),
    "withdrawn": ("cancelled", "Withdrawn"),
    "superseded": ("cancelled", "Asked again"),
    "changes_requested": ("cancelled", "Changes requested"),
}


def inbox_page(actor: Actor, *, now: float, at: float | None = None, selected: str = "") -> dict[str, Any]:
    """`at`: see approvals.inbox. `selected`: the request that is open beside the list."""
    box = inbox_of(actor, now=now, at=at, midnight=_midnight())
    groups = {"yours": box.yours, "others": box.others, "done": box.done}
    return {
        **{name: [_item(e, actor, selected) for e in entries] for name, entries in groups.items()},
        "open_yours": sum(e.yours for e in box.yours),
        "new": box.new,
        "at": box.at,
        "selected": selected,
        "now": now,
    }


def _midnight() -> float:
    today: datetime = localtime()
    return today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _item(entry: Entry, actor: Actor, selected: str) -> dict[str, Any]:
    request = entry.request
    state, label = _LOOKS[request.status]
    return {
        "id": request.pk,
        "title": request.title,
        "flow": request.run.flow.slug if request.run else request.kind,
        "irreversible": request.irreversible,
        "approvals": len(entry.standing.approvals),
        "quorum": request.quorum,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "closed_at": request.closed_at,
        "open": request.status == OPEN,
        "state": state,
        "label": label,
        "outcome": _outcome(entry, actor),
        "voted": entry.mine.verdict if entry.mine else "",
        "current": request.pk == selected,
    }


def _outcome(entry: Entry, actor: Actor) -> str:
    """Who closed it and how: "You approved", "Ada rejected", "Expired"."""
    request = entry.request
    if request.status not in ("approved", "rejected") or not entry.decisions:
        return _LOOKS[request.status][1]
    last = entry.decisions[-1]
    name = (
        "You"
        if actor.user and last.person_id == actor.user.pk
        else last.person.get_full_name() or last.person.get_username()
    )
    return f"{name} {request.status}"


def find_request(actor: Actor, request_id: str) -> ApprovalRequest:
    """Raises NotFound for a request that is not there or that the actor may not view: the two look the same."""
    found = visible(actor).filter(pk=request_id).first()
    if found is None:
        raise NotFound("There is no such request, or you may not see it.")
    return found


def request_page(actor: Actor, request: ApprovalRequest, *, now: float | None = None) -> dict[str, Any]:
    """Everything the detail pane shows."""
    moment = time.time() if now is None else now
    entry = entry_of(request, actor)
    veil, (earlier, title) = veil_of(request), _compared(request)
    changes = None if earlier is None else _changes(earlier, request.actions, veil)
    form = blank(request.form_schema, forms.standing_form(request))
    show(request, veil)
    return {
        "row": request,
        "entry": entry,
        "status": closed(entry.question, moment) or "open",
        "look": _LOOKS[closed(entry.question, moment) or "open"],
        "summary": markdown(request.summary),
        **effect_of(request.actions, request.digest),
        "changes": changes,
        "compared": title,
        "people": _people(entry, actor, veil),
        "asked_of": _others(request),
        "why_not": _why_not(entry),
        "missing": entry.standing.missing,
        "last": entry.standing.missing <= 1,
        "target": request.run.flow.slug if request.run else request.step,
        "fields": formfields.fields_of(request.form_schema, form),
        "later": request.later.order_by("-created_at").values_list("pk", flat=True).first()
        if request.status == "superseded"
        else "",
        "now": moment,
    }


def effect_of(actions: Any, digest: str) -> dict[str, Any]:
    """What will happen: a sentence an action, its longer texts, the connections it goes through, the exact payload."""
    connections = {a["connection"]["name"]: a["connection"] for a in actions if a.get("connection")}
    return {
        "actions": [
            {
                "sentence": a.get("sentence") or f"Run {a.get('step')}",
                "irreversible": bool(a.get("irreversible")),
                "step": a.get("step"),
                "item": a.get("item"),
                "family": a.get("family"),
                "texts": texts_of(a),
            }
            for a in actions
        ],
        "connections": list(connections.values()),
        "payload": payload_of(actions),
        "digest": digest,
    }


def markdown(text: str) -> SafeString:
    """Safe HTML: raw HTML is escaped, dangerous links are refused, images not shown; `res://…` leads to its page."""
    html: str = _RESOURCE_LINK.sub(r'href="/resources/\1"', html_of(text))
    return SafeString(html)  # html=False: the author's markup was escaped


def _changes(earlier: ApprovalRequest, actions: Any, veil: Veil) -> list[tuple[str, str]]:
    """Where only what is not shown differs, this is said: the two are not the same."""
    masked = veiled.actions(veil_of(earlier), veil.actions(earlier.actions))
    found = difference(masked, veiled.actions(veil, actions))
    if not found and difference(earlier.actions, actions):
        return [("+", "A sensitive value is another one.")]
    return found


def _compared(request: ApprovalRequest) -> tuple[ApprovalRequest | None, str]:
    """The request to compare with, and what it was: the one this one replaced, else the last approved."""
    if request.previous is not None:
        return request.previous, "the previous request"
    if request.run is None:
        return None, ""
    last = ApprovalRequest.objects.filter(
        run__flow=request.run.flow_id, step=request.step, status="approved", created_at__lt=request.created_at
    )
    last = last.select_related("run__release").only("actions", "run__parent_id", "run__release__checksum")
    found = last.order_by("-created_at").first()
    return (found, "the last approved run") if found else (None, "")


def _people(entry: Entry, actor: Actor, veil: Veil) -> list[dict[str, Any]]:
    void = set(entry.standing.void)
    return [
        {
            "name": d.person.get_full_name() or d.person.get_username(),
            "you": bool(actor.user) and d.person_id == actor.user.pk,
            "approved": d.verdict == "approve",
            "void": d.person.get_username() in void,
            "comment": veil.text(d.comment),
            "at": d.at,
        }
        for d in entry.decisions
    ]


def _others(request: ApprovalRequest) -> str:
    named = [*request.reviewers.get("groups", ()), *request.reviewers.get("users", ())]
    return ", ".join(named) or "any reviewer of this folder"


def _why_not(entry: Entry) -> str:
    """Why this person cannot decide now, or ""."""
    if entry.request.status != OPEN:
        return f"This request is closed: {_LOOKS[entry.request.status][1].lower()}."
    if entry.why_not is not None:
        return entry.why_not.message
    if entry.mine is not None:
        return "You have decided already. Decisions are final."
    return ""
