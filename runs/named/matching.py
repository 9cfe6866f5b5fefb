"""Waits for events: opened and closed in the run's own save, matched outside transactions, used at most once by a run.

Which event a wait takes is looked for on one version of the run; `use` then holds it in the run's save. A name's row is
locked before any queue row is written: whoever delivers writes queue rows, but never waits for a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction

from flows.definition import expr, waiting
from flows.definition.inputs import JsonError, validate_input
from resources.masking import Masker
from runs import history, masks
from runs.engine import turn as cmd
from runs.engine.state import Step
from runs.engine.turn import Decision
from runs.loading import place_of
from runs.models import Run
from runs.named.models import EventName, EventUse, EventWait, NamedEvent
from runs.races import Stale

if TYPE_CHECKING:
    from runs.store import Loaded

Json = Any
KINDS: Final = frozenset({"event", "first"})
#: events looked at in one go
BATCH: Final = 100
#: the timer that has a worker look whether an event fits
TIMER: Final = "event"


@dataclass(frozen=True, slots=True)
class Found:
    """`payload`: what the step gives; `used`: the event's row."""

    payload: Json
    used: int


def options_of(wait: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    """{name of the alternative: {name, keep}} of the events that an open wait waits for."""
    if wait["kind"] == "event":
        return {waiting.ALONE: wait["spec"]}
    several = wait["spec"]["of"] if wait["kind"] == "first" else {}
    return {name: option for name, option in several.items() if option["kind"] == "event"}


# -- the name's row ------------------------------------------------------------------------------------------------
def lock_names(names: Iterable[str]) -> dict[str, EventName]:
    """Their rows, locked in order; made where nobody met them before. Inside a transaction."""
    wanted = sorted(set(names))
    known = EventName.objects.filter(name__in=wanted)
    if known.count() < len(wanted):
        EventName.objects.bulk_create([EventName(name=name) for name in wanted], ignore_conflicts=True)
    return {row.name: row for row in known.select_for_update().order_by("name")}


def lock_for(decisions: Iterable[Decision]) -> None:
    """What these decisions open waits for, before they are written."""
    names = [
        option["name"]
        for decision in decisions
        for c in decision.commands
        if isinstance(c, cmd.OpenWait) and c.kind in KINDS
        for option in options_of({"kind": c.kind, "spec": c.spec}).values()
    ]
    if names:
        lock_names(names)


# -- opening and closing -------------------------------------------------------------------------------------------
def begin(loaded: Loaded, c: cmd.OpenWait, now: float) -> bool:
    """Wait for these names from now on. True where an event is there that may fit."""
    options = options_of({"kind": c.kind, "spec": c.spec})
    rows = lock_names(option["name"] for option in options.values())
    waits = [
        EventWait(
            name=rows[option["name"]], run_id=loaded.state.run_id, step=c.step, item=c.item, option=name,
            since=now - option["keep"],
        )
        for name, option in options.items()
    ]  # fmt: skip
    EventWait.objects.bulk_create(waits)
    who = f"{c.step}:{c.item}"
    return any(_candidates(wait, loaded.folder, who, None).exists() for wait in waits)


def end(run_id: str, step: str, item: int) -> None:
    EventWait.objects.filter(run_id=run_id, step=step, item=item).delete()


def use(run_id: str, event_id: int) -> None:
    """In the save that answers the wait. Raises Stale when another step of this run was faster."""
    if EventUse.objects.filter(event_id=event_id, run_id=run_id, refused_by="").exists():
        raise Stale  # the run's row is locked: nobody comes between the look and the row
    EventUse.objects.create(event_id=event_id, run_id=run_id)


# -- looking -------------------------------------------------------------------------------------------------------
def find(loaded: Loaded, step: Step) -> Found | None:
    """The oldest event that fits, of those this run has not used. Outside transactions.

    Raises Stale, backends.errors.Unreachable.
    """
    wait = step.wait or {}
    config, until = loaded.plan.step(step.id).config, wait.get("until")
    wanted = waiting.of_kind(config, "event")
    best: tuple[NamedEvent, EventWait] | None = None
    rows = EventWait.objects.filter(run_id=loaded.state.run_id, step=step.id, item=step.item).select_related("name")
    for row in rows:
        event = _first(loaded, step, row, wanted.get(row.option, {}), until)
        if event is not None and (best is None or event.received_at < best[0].received_at):
            best = event, row
    if best is None:
        return None
    value = seen(best[0], best[1].name.name)
    which = best[1].option
    return Found(value if which == waiting.ALONE else {"which": which, "value": value}, best[0].pk)


def settled(wait: Mapping[str, Json]) -> None:
    """Its time is up: whoever is delivering at this moment is waited for."""
    names = [option["name"] for option in options_of(wait).values()]
    if names:
        with transaction.atomic():
            lock_names(names)


def seen(event: NamedEvent, name: str) -> dict[str, Json]:
    """The event as expressions and outputs have it."""
    return {"name": name, "id": event.key, "body": event.body, "received_at": event.received_at}


def _first(
    loaded: Loaded, step: Step, row: EventWait, config: Mapping[str, Json], until: float | None
) -> NamedEvent | None:
    from runs import acting  # which needs this module for its own waits

    who = f"{step.id}:{step.item}"
    scope = acting.scope_for(loaded, step)
    masker: Masker | None = None
    for event in _in_turn(_candidates(row, loaded.folder, who, until)):
        masker = masker or masks.of_plan(loaded.plan, place_of(loaded), former=False)
        event.body = masker.tree(event.body)
        if not fits(config.get("match"), scope, seen(event, row.name.name)):
            continue
        problems = breaches(config.get("schema"), event.body)
        if not problems:
            return event
        _refuse(loaded, step, event, who, problems)
    return None


def _candidates(row: EventWait, folder: str, who: str, until: float | None) -> Any:
    used = EventUse.objects.filter(run_id=row.run_id, refused_by__in=("", who)).values("event_id")
    rows = NamedEvent.objects.filter(name_id=row.name_id, received_at__gte=row.since, folder__in=above(folder))
    if until is not None:
        rows = rows.filter(received_at__lte=until)
    return rows.exclude(pk__in=used).order_by("received_at", "pk")


def _in_turn(rows: Any) -> Iterator[NamedEvent]:
    """All of them, some at a time."""
    last: NamedEvent | None = None
    while True:
        part = rows
        if last is not None:
            part = rows.filter(received_at__gte=last.received_at).exclude(received_at=last.received_at, pk__lte=last.pk)
        found = list(part[:BATCH])
        yield from found
        if len(found) < BATCH:
            return
        last = found[-1]


def above(folder: str) -> list[str]:
    """The folder and all above it: an event for a folder is one for all below."""
    parts = folder.split("/") if folder else []
    return ["", *("/".join(parts[: n + 1]) for n in range(len(parts)))]


def fits(match: str | None, scope: Mapping[str, Json], event: Mapping[str, Json]) -> bool:
    """Does `match` hold for it? A body without what `match` reads does not fit."""
    try:
        return match is None or expr.truthy(match, {**scope, "event": event})
    except expr.ExprError:
        return False


def breaches(schema: Mapping[str, Json] | None, body: Json) -> list[dict[str, Json]]:
    if schema is None:
        return []
    try:
        return validate_input(schema, body)
    except JsonError as error:
        return [{"path": [], "message": str(error)}]


def _refuse(loaded: Loaded, step: Step, event: NamedEvent, who: str, problems: list[dict[str, Json]]) -> None:
    """The step goes on waiting, and this event is none for it. Raises Stale: the history has moved."""
    run_id = loaded.state.run_id
    with transaction.atomic():
        Run.objects.select_for_update().only("pk").get(pk=run_id)
        _, fresh = EventUse.objects.get_or_create(event_id=event.pk, run_id=run_id, refused_by=who)
        if fresh:
            told = {"id": event.key, "problems": problems[:20]}
            history.append(run_id, "event.refused", step=step.id, item=step.item, data=told)
    raise Stale
