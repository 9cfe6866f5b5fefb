"""What an event says to a person. Pure: an event in; a look, a sentence and the filters it belongs to out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from flows.definition.plan import UNDO

Data = Mapping[str, Any]
_PEOPLE = (
    "approval.", "run.terminate_requested", "run.retry_requested", "run.forked", "run.dismissed", "step.skip_requested",
    "step.complete_requested", "step.outcome_said", "run.cancel_requested", "run.pause_requested", "run.resumed",
    "step.answered",
)  # fmt: skip
_ERRORS = (
    "run.failed", "run.timed_out", "step.failed", "step.retrying", "step.lost", "step.unknown", "step.fallback",
    "step.refused", "callback.refused", "event.refused", "step.turned_away", "step.deadline", "step.sla_missed",
    "run.sla_missed", "run.deadline", "step.stalled",
)  # fmt: skip

_LOOKS = {
    "run.succeeded": "s-succeeded",
    "run.failed": "s-failed",
    "run.timed_out": "s-failed",
    "run.cancelled": "s-cancelled",
    "run.cancel_requested": "s-cancelled",
    "run.terminate_requested": "s-cancelled",
    "run.compensating": "s-compensating",
    "run.retry_requested": "undo",
    "run.reopened": "undo",
    "run.dismissed": "check",
    "run.paused": "s-paused",
    "run.pause_requested": "s-paused",
    "run.queued": "s-queued",
    "step.succeeded": "s-succeeded",
    "step.failed": "s-failed",
    "step.retrying": "s-failed",
    "step.lost": "s-failed",
    "step.unknown": "s-dead",
    "step.skipped": "s-skipped",
    "step.routed": "shapes",
    "step.discarded": "s-cancelled",
    "step.refused": "s-failed",
    "callback.refused": "s-failed",
    "event.refused": "s-failed",
    "step.cancelled": "s-cancelled",
    "step.waiting": "s-waiting",
    "step.round": "s-waiting",
    "step.sla_missed": "s-waiting",
    "run.sla_missed": "s-waiting",
    "step.deadline": "s-failed",
    "run.deadline": "s-failed",
    "step.stalled": "s-failed",
    "step.attempt_failed": "s-failed",
    "step.held": "s-waiting",
    "step.turned_away": "s-failed",
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
    undoing = event.step.endswith(UNDO)
    name = f"Undoing {event.step.removesuffix(UNDO)}" if undoing else event.step
    who = f"{name}[{event.item}]" if event.item >= 0 else name
    tell = _TELL.get(event.type)
    told = tell(data) if tell else event.type
    if event.actor and event.type.startswith(("run.", "step.skip_", "step.complete_", "step.outcome_")):
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


def _started(data: Data) -> str:
    held = f", held back for {data['held']:.3g} s" if data.get("held") else ""
    what = "asks whether it happened" if data.get("asks") else "started"
    return f"{what}, attempt {data.get('attempt', 1)}{held}"


def _log(data: Data) -> SafeString:
    return format_html("<code>{}</code>", "\n".join(str(line) for line in data.get("lines") or ())[:2000])


_OUTCOMES = {"done": "did happen", "not_done": "did not happen", "again": "is to be tried again"}


def _routed(data: Data) -> SafeString:
    to = ", ".join(data.get("to") or ()) or "nothing in particular"
    return format_html("took <b>{}</b>, which leads to {}", data.get("name", "default"), to)


def _refused(data: Data) -> SafeString:
    first = (data.get("problems") or [{}])[0]
    where = ".".join(str(part) for part in first.get("path", ())) or "its body"
    return format_html("refused a callback, and still waits: <code>{}</code> {}", where, first.get("message", ""))


def _event_refused(data: Data) -> SafeString:
    first = (data.get("problems") or [{}])[0]
    where = ".".join(str(part) for part in first.get("path", ())) or "its body"
    told = "did not take the event {}, and still waits: <code>{}</code> {}"
    return format_html(told, data.get("id", ""), where, first.get("message", ""))


def _waits(data: Data) -> str:
    kind = str(data.get("kind", "signal"))
    spec = (data.get("wait") or {}).get("spec") or {}
    if kind == "event":
        return f"waits for an event {spec.get('name', '')}".rstrip()
    if kind == "first":
        return f"waits for the first of: {', '.join(spec.get('of') or ())}"
    if kind == "job":
        return f"waits for a runner with {', '.join(spec.get('labels') or ())}"
    return "waits for a person" if kind == "approval" else f"waits for a {kind}"


def _undoing(steps: int) -> str:
    return "Undoing what 1 step did" if steps == 1 else f"Undoing what {steps} steps did, the last first"


def age(seconds: float) -> str:
    """About how old, in one unit: `40 s`, `3 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _succeeded(data: Data) -> str:
    stale = data.get("stale")
    if stale:
        return f"used its last good output, {age(stale.get('age', 0))} old"
    return "had happened already: it was not sent again" if data.get("already_done") else "succeeded"


#: why a step did not run, in words
SKIPS = {
    "if": ": its `if` is false",
    "when": ": its `when` does not apply",
    "needs": ": what it needs did not succeed",
    "approval": ": it was not approved",
    "route": ": another way was taken",
    "key": ": an earlier item of its key went wrong",
    "handler": ": nothing called it",
}


_TELL: dict[str, Callable[[Data], str]] = {
    "run.created": lambda d: "Run created",
    "run.queued": lambda d: f"In line for a place of the key {d['key']!r}" if "key" in d else "In line",
    "run.admitted": lambda d: "Its turn has come",
    "run.started": lambda d: "Run started",
    "run.pause_requested": lambda d: _why("Pause requested", d),
    "run.paused": lambda d: "Run paused",
    "run.resumed": lambda d: _why("Run resumed", d),
    "run.cancel_requested": lambda d: _why("Cancel requested", d),
    "run.cancelled": lambda d: "Run terminated" if d.get("terminated") else "Run cancelled",
    "run.terminate_requested": lambda d: _why("Termination requested", d),
    "run.compensating": lambda d: _undoing(d.get("steps", 0)),
    "run.retry_requested": lambda d: _why("Retry requested", d),
    "run.reopened": lambda d: "Run reopened",
    "run.dismissed": lambda d: _why("Dismissed from the dead letters", d),
    "run.forked": lambda d: format_html("goes on from there, as a fork of run {}", str(d.get("of", ""))[-6:]),
    "step.skip_requested": lambda d: _why("is to be skipped", d),
    "step.complete_requested": lambda d: _why("is completed by hand", d),
    "step.outcome_said": lambda d: _why(_OUTCOMES.get(str(d.get("outcome")), "was looked at"), d),
    "run.succeeded": lambda d: "Run succeeded",
    "run.failed": lambda d: format_html("Run failed: {}", _error(d)),
    "run.timed_out": lambda d: format_html("Run timed out: {}", _error(d)),
    "step.ready": lambda d: "is ready",
    "step.started": _started,
    "step.succeeded": _succeeded,
    "step.retrying": lambda d: format_html(
        "attempt {} failed: {}. It will be tried again.", d.get("attempt", 1), _error(d)
    ),
    "step.attempt_failed": lambda d: f"ended its attempt {d.get('attempt', 1)} without success",
    "step.failed": lambda d: format_html("failed: {}", _error(d)),
    "step.lost": lambda d: f"lost its worker during attempt {d.get('attempt', 1)}",
    "step.handed_back": lambda d: f"attempt {d.get('attempt', 1)} was handed back: its worker stops",
    "step.unknown": lambda d: "may or may not have happened: a person must look",
    "step.waiting": _waits,
    "step.answered": lambda d: "got its answer",
    "step.round": lambda d: f"round {d.get('round', 1)}: not yet",
    "step.deadline": lambda d: "missed its deadline",
    "step.sla_missed": lambda d: f"takes longer than its sla of {d.get('sla', 0):g} s",
    "step.stalled": lambda d: f"reported no progress for {d.get('after', 0):g} s and is asked to stop",
    "step.handling": lambda d: f"has {', '.join(d.get('steps') or ())} run before it fails",
    "step.time_up": lambda d: (
        "waited long enough" if d.get("kind") == "timer" or d.get("which") else "got no answer in time"
    ),
    "run.deadline": lambda d: f"The run missed its deadline of {d.get('deadline', 0):g} s",
    "run.sla_missed": lambda d: f"The run takes longer than its sla of {d.get('sla', 0):g} s",
    "step.skipped": lambda d: f"was skipped{SKIPS.get(str(d.get('reason', '')), '')}",
    "step.fanned": lambda d: f"fanned out over {d.get('items', 0)} items",
    "step.held": lambda d: f"is held back by {d.get('by', 'a limit')}",
    "step.turned_away": lambda d: format_html("was turned away: {}", _error(d)),
    "step.joined": lambda d: f"joined its {d.get('items', 0)} items",
    "step.fallback": lambda d: format_html("used its fallback: {}", _error(d)),
    "step.reopened": lambda d: _why("was opened again", d),
    "step.cancelled": lambda d: (
        "was withdrawn: a join went on without it" if d.get("reason") == "join" else "was cancelled"
    ),
    "step.log": _log,
    "approval.requested": lambda d: format_html("asks for approval: {}", d.get("title", "")),
    "approval.decided": _decided,
    "approval.expired": lambda d: "expired without a decision",
    "approval.withdrawn": lambda d: "was withdrawn",
    "approval.superseded": lambda d: "is asked again, because what would happen changed",
    "job.claimed": lambda d: f"was taken by the runner {d.get('runner', '')}",
    "job.lost": lambda d: (
        f"was lost by the runner {d.get('runner', '')}"
        + (", and is in line again" if d.get("state") == "queued" else "")
    ),
    "job.ended": lambda d: f"ended as {d.get('state', '')} on the runner {d.get('runner', '')}",
    "step.again": lambda d: format_html("is tried again after {}", _error(d)),
    "callback.received": lambda d: "got a callback",
    "callback.duplicate": lambda d: "got the same callback again; nothing changed",
    "callback.refused": _refused,
    "event.refused": _event_refused,
    "step.refused": lambda d: "was not started",
    "step.routed": _routed,
    "step.stop_requested": lambda d: "is no longer needed; its result will change nothing",
    "step.discarded": lambda d: "ended too late: its result changes nothing",
    "step.loading": lambda d: "reads its items from a resource",
    "step.loaded": lambda d: "read its items",
    "step.checked": lambda d: "had happened after all" if d.get("happened") else "had not happened",
    "step.output_kept": lambda d: "has a large output: it is kept as a resource",
    "run.output_kept": lambda d: "The run's output is large: it is kept as a resource",
    "callback.late": lambda d: "got a callback too late; nothing changed",
}
