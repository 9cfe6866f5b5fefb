"""What an event says to a person. Pure: an event in; a look, a sentence and the filters it belongs to out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

Data = Mapping[str, Any]
_PEOPLE = ("approval.", "run.cancel_requested", "run.pause_requested", "run.resumed", "step.answered")
_ERRORS = (
    "run.failed",
    "run.timed_out",
    "step.failed",
    "step.retrying",
    "step.lost",
    "step.unknown",
    "step.fallback",
    "step.deadline",
    "step.sla_missed",
    "run.sla_missed",
    "run.deadline",
    "step.stalled",
)

_LOOKS = {
    "run.succeeded": "s-succeeded",
    "run.failed": "s-failed",
    "run.timed_out": "s-failed",
    "run.cancelled": "s-cancelled",
    "run.cancel_requested": "s-cancelled",
    "run.paused": "s-paused",
    "run.pause_requested": "s-paused",
    "run.queued": "s-queued",
    "step.succeeded": "s-succeeded",
    "step.failed": "s-failed",
    "step.retrying": "s-failed",
    "step.lost": "s-failed",
    "step.unknown": "s-dead",
    "step.skipped": "s-skipped",
    "step.cancelled": "s-cancelled",
    "step.waiting": "s-waiting",
    "step.round": "s-waiting",
    "step.sla_missed": "s-waiting",
    "run.sla_missed": "s-waiting",
    "step.deadline": "s-failed",
    "run.deadline": "s-failed",
    "step.stalled": "s-failed",
    "step.attempt_failed": "s-failed",
    "approval.requested": "s-human",
    "approval.expired": "s-waiting",
    "approval.withdrawn": "s-cancelled",
    "approval.superseded": "undo",
    "step.log": "terminal",
}
_TONES = {
    "s-succeeded": "ok",
    "s-failed": "fail",
    "s-dead": "dead",
    "s-human": "human",
    "s-paused": "pause",
    "s-waiting": "wait",
}


def sentence(event: Any) -> dict[str, Any]:
    """{seq, at, icon, tone, text, kind, step}; `kind`: "people", "errors", both or none, space-separated."""
    data: Data = event.data or {}
    look = _LOOKS.get(event.type, "play")
    if event.type == "approval.decided":
        look = "s-succeeded" if data.get("verdict") in ("approve", "approved") else "s-cancelled"
    if event.type == "step.waiting" and data.get("kind") == "approval":
        look = "s-human"
    kinds = [name for name, of in (("people", _PEOPLE), ("errors", _ERRORS)) if event.type.startswith(of)]
    return {
        "seq": event.seq,
        "at": event.at,
        "icon": look,
        "tone": _TONES.get(look, ""),
        "step": event.step,
        "text": _text(event, data),
        "kind": " ".join(kinds),
        "type": event.type,
    }


def _text(event: Any, data: Data) -> SafeString:
    who = f"{event.step}[{event.item}]" if event.item >= 0 else event.step
    tell = _TELL.get(event.type)
    told = tell(data) if tell else event.type
    if event.actor and event.type.startswith("run."):
        told = format_html("{} by <b>{}</b>", told, event.actor)
    return format_html("<b>{}</b> {}", who, told) if who else format_html("{}", told)


def _error(data: Data) -> SafeString:
    error = data.get("error") or {}
    return format_html("<code>{}</code> {}", error.get("class", "error"), str(error.get("message", "")).rstrip("."))


def _why(verb: str, data: Data) -> str:
    reason = data.get("reason")
    return f"{verb}: “{reason}”" if reason else verb


def _decided(data: Data) -> SafeString:
    verb = "approved" if data.get("verdict") in ("approve", "approved") else "rejected"
    by = data.get("by")
    names = ", ".join(by) if isinstance(by, list) else str(by or "Somebody")
    comment = format_html(": “{}”", data["comment"]) if data.get("comment") else ""
    return format_html("was {} by <b>{}</b>{}", verb, names, comment)


def _log(data: Data) -> SafeString:
    return format_html("<code>{}</code>", "\n".join(str(line) for line in data.get("lines") or ())[:2000])


_TELL: dict[str, Callable[[Data], str]] = {
    "run.created": lambda d: "Run created",
    "run.queued": lambda d: "Waiting for a free place",
    "run.started": lambda d: "Run started",
    "run.pause_requested": lambda d: _why("Pause requested", d),
    "run.paused": lambda d: "Run paused",
    "run.resumed": lambda d: _why("Run resumed", d),
    "run.cancel_requested": lambda d: _why("Cancel requested", d),
    "run.cancelled": lambda d: "Run cancelled",
    "run.succeeded": lambda d: "Run succeeded",
    "run.failed": lambda d: format_html("Run failed: {}", _error(d)),
    "run.timed_out": lambda d: format_html("Run timed out: {}", _error(d)),
    "step.ready": lambda d: "is ready",
    "step.started": lambda d: f"started, attempt {d.get('attempt', 1)}",
    "step.succeeded": lambda d: "succeeded",
    "step.retrying": lambda d: format_html(
        "attempt {} failed: {}. It will be tried again.", d.get("attempt", 1), _error(d)
    ),
    "step.failed": lambda d: format_html("failed: {}", _error(d)),
    "step.lost": lambda d: f"lost its worker during attempt {d.get('attempt', 1)}",
    "step.unknown": lambda d: "may or may not have happened: a person must look",
    "step.waiting": lambda d: (
        "waits for a person" if d.get("kind") == "approval" else f"waits for a {d.get('kind', 'signal')}"
    ),
    "step.answered": lambda d: "got its answer",
    "step.attempt_failed": lambda d: format_html("attempt failed: {}", _error(d)),
    "step.round": lambda d: f"round {d.get('round', 1)}: not yet",
    "step.deadline": lambda d: "missed its deadline",
    "step.sla_missed": lambda d: f"takes longer than its sla of {d.get('sla', 0):g} s",
    "step.stalled": lambda d: f"reported no progress for {d.get('after', 0):g} s and is asked to stop",
    "step.handling": lambda d: f"has {', '.join(d.get('steps') or ())} run before it fails",
    "step.time_up": lambda d: "waited long enough" if d.get("kind") == "timer" else "got no answer in time",
    "run.deadline": lambda d: f"The run missed its deadline of {d.get('deadline', 0):g} s",
    "run.sla_missed": lambda d: f"The run takes longer than its sla of {d.get('sla', 0):g} s",
    "step.skipped": lambda d: _why("was skipped", d),
    "step.fanned": lambda d: f"fanned out over {d.get('items', 0)} items",
    "step.fallback": lambda d: format_html("used its fallback: {}", _error(d)),
    "step.reopened": lambda d: _why("was opened again", d),
    "step.cancelled": lambda d: "was cancelled",
    "step.log": _log,
    "approval.requested": lambda d: format_html("asks for approval: {}", d.get("title", "")),
    "approval.decided": _decided,
    "approval.expired": lambda d: "expired without a decision",
    "approval.withdrawn": lambda d: "was withdrawn",
    "approval.superseded": lambda d: "is asked again, because what would happen changed",
    "callback.received": lambda d: "got a callback",
    "callback.duplicate": lambda d: "got the same callback again; nothing changed",
    "callback.late": lambda d: "got a callback too late; nothing changed",
}
