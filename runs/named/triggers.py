"""Flows that an event starts: `triggers: [{event: {name: …}}]` of their live release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flows.definition import expr, waiting
from flows.definition.bindings import Place
from flows.definition.durations import parse_duration
from flows.definition.plan import Plan, Trigger
from flows.definition.sensitive import marks
from flows.models import Flow, Release
from flows.plans import Live, live_plan
from resources.access import Actor, covers
from resources.errors import OrchestraError
from runs import actions, masks
from runs.named import matching
from runs.named.models import EventListener, EventName, NamedEvent

Json = Any
MAX_DEDUPE: Final = 200
#: schemas of one name that are kept, the latest
MAX_MARKS: Final = 50


@dataclass(frozen=True, slots=True)
class Started:
    """status: started | duplicate | skipped (a run has the place) | ignored (`if`) | refused (code, message)."""

    flow: str
    status: str
    run: str | None = None
    code: str = ""
    message: str = ""


class Unreadable(OrchestraError):
    """The trigger's expressions cannot read this event."""

    code = "unreadable_event"
    status = 422


def on_live_changed(*, flow: Flow, plan: Plan, **_: Any) -> None:
    """Receiver of flows.signals.live_changed: what the release listens to, how long it wants events kept, and what
    of their bodies it calls sensitive."""
    wanted = {t.name for t in plan.triggers if t.kind == "event"}
    EventListener.objects.filter(flow=flow).exclude(event__in=wanted).delete()
    rows = [EventListener(flow=flow, event=name) for name in wanted]
    EventListener.objects.bulk_create(rows, ignore_conflicts=True)
    keeps: dict[str, float] = {}
    for step in plan.steps if any(s.family == waiting.FAMILY for s in plan.steps) else ():
        for event in waiting.of_kind(step.config, "event").values() if step.family == waiting.FAMILY else ():
            if "keep" in event and not expr.has_expression(event["keep"]) and not expr.has_expression(event["name"]):
                keeps[event["name"]] = max(keeps.get(event["name"], 0.0), parse_duration(event["keep"]))
    marked = _marks(plan)
    for name, row in matching.lock_names({*keeps, *marked}).items() if keeps or marked else ():
        if row.keep < keeps.get(name, 0.0):
            EventName.objects.filter(pk=row.pk).update(keep=keeps[name])
        more = [schema for schema in marked.get(name, ()) if schema not in (row.marks or [])]
        if more:
            EventName.objects.filter(pk=row.pk).update(marks=[*(row.marks or []), *more][-MAX_MARKS:])


def _marks(plan: Plan) -> dict[str, list[Json]]:
    """{name: schemas of its body that mark something}: of its waits, and the input that a trigger takes it for."""
    found: dict[str, list[Json]] = {}
    for step in (s for s in plan.steps if s.family == waiting.FAMILY):
        for event in waiting.of_kind(step.config, "event").values():
            if marks(event.get("schema")) and not expr.has_expression(event["name"]):
                found.setdefault(event["name"], []).append(event["schema"])
    if marks(plan.input_schema):
        for trigger in (t for t in plan.triggers if t.kind == "event" and "input" not in t.config):
            found.setdefault(trigger.name, []).append(plan.input_schema)
    return found


def start_flows(event: NamedEvent, name: str, address: str) -> list[Started]:
    """One run of each flow that listens, in the event's folder or below it; by the event's id or the trigger's own.

    What cannot be started is told, and stops no other.
    """
    slugs = EventListener.objects.filter(event=name).order_by("flow__slug").values_list("flow__slug", "flow__folder")
    found = []
    for slug in [slug for slug, folder in slugs if covers(event.folder, folder)]:
        live = live_plan(slug)
        trigger = live.plan.trigger(name) if live is not None else None
        if live is not None and trigger is not None and trigger.kind == "event":
            found.append(_start(live, trigger, event, name, address))
    return found


def _start(live: Live, trigger: Trigger, event: NamedEvent, name: str, address: str) -> Started:
    seen = {"kind": "event", **matching.seen(event, name)}
    try:
        asked = _asked(trigger, live.plan, seen)
        if asked is None:
            return Started(live.slug, "ignored")
        masker = masks.of_plan(live.plan, Place(live.slug))
        started = actions.start_run(
            actor=Actor.trigger(f"{live.slug}/{name}", live.folder, address),
            flow=Flow(pk=live.flow_id, slug=live.slug, folder=live.folder),
            release=Release(pk=live.release_id, flow_id=live.flow_id),
            input=masker.tree(asked[0]),
            trigger=masker.tree(seen),
            idempotency_key=asked[1],
            source=f"event:{name}"[:80],
        )
    except OrchestraError as error:
        if error.stable_code == "idempotency_mismatch":  # another release made another input of the same event
            return Started(live.slug, "duplicate", (error.details or {}).get("run"))
        return Started(live.slug, "refused", code=error.stable_code, message=error.message)
    status = "started" if started.created else "skipped" if started.skipped else "duplicate"
    return Started(live.slug, status, started.run.pk)


def _asked(trigger: Trigger, plan: Plan, seen: Mapping[str, Json]) -> tuple[Json, str] | None:
    """(input, key) of the run; None where `if` says no. Raises Unreadable."""
    config = trigger.config
    try:
        scope = expr.Scope.of({"trigger": seen})
        if not expr.truthy(config.get("if", True), scope):
            return None
        given = expr.render(config["input"], scope) if "input" in config else seen["body"] if plan.input_schema else {}
        key = expr.render(config["dedupe"], scope) if "dedupe" in config else f"{seen['id']}"
    except expr.ExprError as error:
        raise Unreadable(f"The trigger could not read this event: {error}") from error
    key = key if isinstance(key, str) else str(key)
    if not 0 < len(key) <= MAX_DEDUPE:
        raise Unreadable(f"The deduplication key must have 1 to {MAX_DEDUPE} characters.", code="bad_dedupe_key")
    return given, key
