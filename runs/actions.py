"""Every change people and the outside make to a run. One action a mutation: permission, change, history, audit.

Starting is a plain row change in one transaction; a worker decides what follows. Answers to waits are in
runs/answering.py, the controls in runs/controls.py; runs/copies.py starts runs from others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from flows import variables
from flows.definition import expr
from flows.definition.canonical import digest
from flows.definition.inputs import JsonError, validate_input, with_defaults
from flows.definition.plan import Plan
from flows.given import resource_problems
from flows.models import Flow, Release
from resources import audit
from resources.access import Actor, can, require
from resources.errors import BadInput, Conflict, NotFound
from resources.fields import dumps
from resources.ids import ulid
from resources.models import Role
from runs import beginnings, bell, clock, gates, history, limits, ranks, store
from runs.answering import Delivery, deliver
from runs.controls import cancel_run, pause_run, resume_run
from runs.engine.state import VARS
from runs.models import NO_ITEM, Run, RunStatus, StartKey

Json = Any
#: who, and through what: their starts are in the audit log; replays and forks have entries of their own there
PEOPLE: Final = ("user", "token")
ASKED: Final = ("api", "page")
__all__ = ["Delivery", "Started", "cancel_run", "deliver", "pause_run", "resume_run", "start_run"]


# -- starting --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False where the idempotency key had started this run before.

    `skipped`: the flow says `on_conflict: skip`, nothing was started, and `run` is one that holds the place.
    """

    run: Run
    created: bool
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """The step of another run that starts this one."""

    run_id: str
    step: str
    item: int = NO_ITEM


def may_start(actor: Actor, flow: Flow) -> bool:
    """Who may write a flow may run it, and so may who operates it: one rule for pages, API and triggers."""
    return can(actor, Role.AUTHOR, flow.folder) or can(actor, Role.OPERATOR, flow.folder)


def start_run(
    *,
    actor: Actor,
    flow: Flow,
    input: Json,
    trigger: Mapping[str, Json] | None = None,
    idempotency_key: str | None = None,
    source: str = "api",
    release: Release | None = None,
    priority: int | None = None,
    parent: Parent | None = None,
    test: bool = False,
) -> Started:
    """Start a run of the live release (or of `release`). `priority`: -10 … 10 instead of the flow's, for operators.
    In the audit log where people ask for it, on a page or with a token.

    The variables that it declares are frozen now; `test`: their draft values, where there are some.

    Raises NotAllowed; Conflict `not_live`, `idempotency_mismatch`, `quarantined`, `flow_paused`, `key_taken` or
    `deadlock`; TooMany `max_queued`; BadInput with [{path, message}] in details.
    """
    if not may_start(actor, flow):
        require(actor, Role.OPERATOR, flow.folder)
    if priority is not None:
        _check_priority(actor, flow, priority)
    release = _startable(flow, release)
    plan = store.plan_of(release.pk)
    value = _checked(actor, flow, plan, input)
    started_by = _frozen(flow, plan, dict(trigger or {"kind": "manual", "name": "manual"}), test=test)
    label = _limit_label(plan.concurrency.key, value, started_by) if plan.concurrency else ""
    limit_key = limits.digest_of(flow.pk, label) if plan.concurrency else ""
    run = _new_run(flow, release, value, started_by, actor, limit_key)
    run.priority = plan.priority if priority is None else priority
    above = _put_below(run, parent) if parent is not None else ()
    ranks.look(plan.queue)
    if actor.kind not in PEOPLE or source not in ASKED:  # the run's own history says who started it
        return _write(run, actor, plan, label, above, source, idempotency_key)
    with transaction.atomic():
        started = _write(run, actor, plan, label, above, source, idempotency_key)
        if started.created:
            data = {"flow": flow.slug, "release": release.version, "test": bool(started_by.get("test"))}
            audit.record(actor=actor, action="run.started", object_type="run", object_id=run.pk, data=data)
    return started


def _startable(flow: Flow, release: Release | None) -> Release:
    """The release asked for, or the live one. Raises Conflict `not_live`."""
    found = release or flow.live
    if found is None:
        raise Conflict(f"{flow.slug} has no live release.", code="not_live", hint="Release its draft and make it live.")
    return found


def _checked(actor: Actor, flow: Flow, plan: Plan, input: Json) -> Json:
    """The input with its defaults. Raises BadInput `invalid_input` with [{path, message}] in details."""
    schema = plan.input_schema
    try:
        value = with_defaults(schema, {} if input is None else input)
        problems = validate_input(schema, value) or resource_problems(actor, flow.folder, schema, value)
    except JsonError as error:
        raise BadInput(f"The input cannot be used: {error}", code="invalid_input") from error
    if problems:
        raise BadInput("The input breaks the flow's input schema.", code="invalid_input", details=problems)
    return value


def _write(
    run: Run, actor: Actor, plan: Plan, label: str, above: tuple[str, ...], source: str, idempotency_key: str | None
) -> Started:
    """The row, its first entry and its place in the line; or the run that is there already."""
    if _start_at_once(run, actor, plan, source, idempotency_key):
        return Started(run, created=True)
    try:
        with transaction.atomic():
            known = _claim_key(run, source, idempotency_key)
            if known is not None:
                return Started(known, created=False)
            gates.enter(run, plan, label, above)
            _insert(run, actor, plan, label, idempotency_key)
            bell.ring_on_commit(bell.WORK, bell.EVENTS)
    except gates.Skipped as skipped:  # the idempotency key was given back with the rest
        return Started(Run.objects.select_related("flow", "release").get(pk=skipped.args[0]), False, skipped=True)
    return Started(run, created=True)


def _frozen(flow: Flow, plan: Plan, trigger: dict[str, Json], *, test: bool) -> dict[str, Json]:
    """The trigger with the values that the run's variables have from now on; a fork keeps those of its run.

    Raises BadInput `missing_variable`, `invalid_variable`, `sensitive_variable`.
    """
    kept = trigger.pop(VARS, None)
    test = test or bool(trigger.get("test"))
    if test:
        trigger["test"] = True
    if not plan.vars:
        return trigger
    if trigger.get("kind") == "fork" and kept is not None:
        return {**trigger, VARS: kept}
    return {**trigger, VARS: variables.frozen(flow, plan.vars, draft=test)}


def _check_priority(actor: Actor, flow: Flow, priority: int) -> None:
    require(actor, Role.OPERATOR, flow.folder)
    if not -10 <= priority <= 10:
        raise BadInput(f"A priority is from -10 to 10, not {priority}.", code="invalid_request")


def _put_below(run: Run, parent: Parent) -> tuple[str, ...]:
    """Note whose child it is. Gives the ids of the runs above it. Raises NotFound."""
    above = Run.objects.filter(pk=parent.run_id).first()
    if above is None:
        raise NotFound("The run that starts this one is no longer there.", code="run_not_found")
    run.parent, run.parent_step, run.parent_item = above, parent.step, parent.item
    run.depth = above.depth + 1
    return limits.ancestors(above)


def _new_run(flow: Flow, release: Release, value: Json, trigger: Json, actor: Actor, limit_key: str) -> Run:
    """Not saved yet, with its first event counted; whether it has a place is decided under the key's lock."""
    clock.measure(every=clock.TRUST)
    now = clock.now()
    return Run(
        id=ulid(now),
        flow=flow,
        release=release,
        status=RunStatus.QUEUED,
        input=value,
        trigger=trigger,
        starter=actor.user,
        limit_key=limit_key,
        placed=True,
        created_at=now,
        version=1,
        seq=1,
    )


def _limit_label(key: Json, value: Json, trigger: Mapping[str, Json]) -> str:
    """The concurrency key as text. Raises BadInput where its expression cannot be resolved for this input."""
    try:
        told = {name: given for name, given in trigger.items() if name != VARS}
        rendered = expr.render(key, {"input": value, "trigger": told, "vars": trigger.get(VARS, {})})
    except expr.ExprError as error:
        raise BadInput(f"The concurrency key cannot be resolved for this input: {error}") from error
    return rendered if isinstance(rendered, str) else dumps(rendered)


def _claim_key(run: Run, source: str, key: str | None) -> Run | None:
    """Take the idempotency key for this run, or give the run that has it. Raises Conflict for another input."""
    if key is None:
        return None
    mark = digest(run.input)
    if beginnings.take_key(run, source, key, mark):
        return None
    first = StartKey.objects.get(flow_id=run.flow_id, source=source, key=key)
    if first.fingerprint != mark:
        raise Conflict(
            "This idempotency key started a run with another input.",
            code="idempotency_mismatch",
            hint="Use a new key for a new input.",
            details={"run": first.run_id},
        )
    known = Run.objects.filter(pk=first.run_id).select_related("flow", "release").first()
    if known is None:
        raise Conflict("This key's run is no longer kept.", code="run_expired", details={"run": first.run_id})
    return known


def _start_at_once(run: Run, actor: Actor, plan: Plan, source: str, key: str | None) -> bool:
    """True where nothing stood in the way: then it is written, whole."""
    _check_key(key)
    mark = digest(run.input) if key is not None else ""
    return beginnings.at_once(run, plan, actor.name, _first_entry(run, key), source, key, mark)


def _check_key(key: str | None) -> None:
    if key is not None and not 0 < len(key) <= 200:
        raise BadInput("An idempotency key has 1 to 200 characters.", code="bad_idempotency_key")


def _first_entry(run: Run, key: str | None) -> dict[str, Json]:
    return {"trigger": run.trigger, "key": key} if key else {"trigger": run.trigger}


def _insert(run: Run, actor: Actor, plan: Plan, label: str, key: str | None) -> None:
    beginnings.insert_run(run, actor.name, _first_entry(run, key))
    if run.placed:
        beginnings.enqueue_start(run.pk, run.created_at, plan, run.flow_id, run.priority)
    else:
        history.append(run.pk, "run.queued", data={"key": label} if plan.concurrency else {})
        if plan.concurrency is not None and plan.concurrency.on_conflict == "cancel_running":
            limits.admit_later(run.pk, run.created_at)  # a worker cancels what it replaces
