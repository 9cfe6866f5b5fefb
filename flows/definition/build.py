"""A document without errors -> the plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.definition import models_time
from flows.definition.models import CheckModel, DefaultsModel, ForEachModel, RetryModel
from flows.definition.plan import (
    AlreadyDone,
    Budget,
    Check,
    Concurrency,
    Fallback,
    ForEach,
    Handler,
    Plan,
    Retry,
    StepPlan,
    Trigger,
    Undo,
    Until,
)
from flows.definition.reader import Document, StepDoc, TriggerDoc
from flows.steps.function.config import expanded

Json = Any
DEFAULT_TIMEOUT = 30.0


def build_steps(document: Document) -> tuple[StepPlan, ...]:
    """The steps that have the right shape, with needs and approvals worked out."""
    defaults = document.flow.defaults if document.flow else DefaultsModel()
    needs = document.needs()
    approvals = [(s.id, s.config.get("protects") or []) for s in document.steps if s.family == "approval"]
    handlers = document.handlers
    built = (_step(_standing_alone(s, document), defaults, needs[s.id], approvals) for s in document.steps)
    return tuple(replace(s, handler=s.id in handlers) for s in built)


def _standing_alone(doc: StepDoc, document: Document) -> StepDoc:
    """The step with the flow's functions put in wherever it uses one."""
    functions = document.flow.functions if document.flow else {}
    if not functions:
        return doc

    def config(family: str | None, given: dict[str, Json]) -> dict[str, Json]:
        return expanded(given, functions) if family == "function" else given

    undo = doc.undo and replace(doc.undo, config=config(doc.undo.family, doc.undo.config))
    return replace(
        doc,
        config=config(doc.family, doc.config),
        fallback_config=doc.fallback_config and config(doc.fallback_family, doc.fallback_config),
        done_config=doc.done_config and config(doc.done_family, doc.done_config),
        undo=undo,
    )


def _step(
    doc: StepDoc, defaults: DefaultsModel, needs: tuple[str, ...], approvals: list[tuple[str, list[str]]]
) -> StepPlan:
    model = doc.model
    return StepPlan(
        id=doc.id,
        family=doc.family,
        config=doc.config,
        needs=needs,
        condition=None if model.if_ is True else model.if_,
        when=model.when if isinstance(model.when, str) else "failure",
        failure_of=() if isinstance(model.when, str) else tuple(model.when.failure_of),
        join=_join(model.join, needs),
        timeout=model.timeout or defaults.timeout or DEFAULT_TIMEOUT,
        retry=_retry(defaults.retry, model.retry),
        for_each=_for_each(model.for_each),
        irreversible=model.irreversible,
        fallback=_fallback(doc),
        compensate=_undo(doc, defaults),
        priority=model.priority,
        queue=model.queue,
        protected_by=tuple(dict.fromkeys(name for name, protects in approvals if doc.id in protects)),
        deadline=model.deadline or defaults.deadline,
        sla=model.sla or defaults.sla,
        stall_after=model.stall_after,
        on_timeout=_handler(model.on_timeout),
        on_deadline=_handler(model.on_deadline),
        on_sla=_handler(model.on_sla),
        on_stall=_handler(model.on_stall),
        until=_until(model.until),
        output_schema=model.output,
        requires=_checks(model.requires),
        ensures=_checks(model.ensures),
        effect=model.effect,
        already_done=_already_done(doc),
    )


def _join(wanted: str | int, needs: tuple[str, ...]) -> int | None:
    """How many needs must succeed; None for all of them."""
    number = {"any": 1, "all": len(needs)}.get(wanted, 0) if isinstance(wanted, str) else wanted
    return None if number == len(needs) else number


def _checks(written: Sequence[str | CheckModel]) -> tuple[Check, ...]:
    return tuple(Check(c) if isinstance(c, str) else Check(c.if_, c.message) for c in written)


def _already_done(doc: StepDoc) -> AlreadyDone | None:
    given = doc.model.already_done
    if given is None or doc.done_family is None:
        return None
    return AlreadyDone(doc.done_family, doc.done_config or {}, given["if"], given.get("output"))


def _retry(defaults: RetryModel | None, own: RetryModel | None) -> Retry:
    """The step's own keys over the flow's defaults over the language's."""
    said: dict[str, Json] = {}
    for model in (defaults, own):
        if model is not None:
            said |= {k: getattr(model, k) for k in model.model_fields_set}
    for name in ("on", "give_up_on"):
        said[name] = tuple(said.get(name, ()))
    return Retry(**said)


def _for_each(model: ForEachModel | None) -> ForEach | None:
    if model is None:
        return None
    return ForEach(model.items, model.max_parallel, model.on_item_error, model.batch, model.key)


def _fallback(doc: StepDoc) -> Fallback | None:
    given = doc.model.fallback
    if given is None:
        return None
    classes = given.get("on")  # lint looks at it later, and may find anything there
    on = tuple(name for name in classes if isinstance(name, str)) if isinstance(classes, list) else ()
    if doc.fallback_family:
        return Fallback(family=doc.fallback_family, config=doc.fallback_config or {}, on=on)
    return Fallback(value=given.get("value"), last_good="last_good" in given, on=on)


def _handler(said: models_time.OnMissed | models_time.OnRunMissed | None) -> Handler | None:
    match said:
        case None:
            return None
        case models_time.Instead():
            return Handler("value", value=said.value)
        case models_time.HandlerSteps():
            return Handler("steps", steps=tuple(dict.fromkeys(said.steps)))
    return Handler(said)


def _until(said: str | models_time.UntilModel | None) -> Until | None:
    if isinstance(said, models_time.UntilModel):
        return Until(said.condition, said.every, said.max_rounds)
    return None if said is None else Until(said)


def _undo(doc: StepDoc, defaults: DefaultsModel) -> Undo | None:
    given = doc.undo
    if given is None:
        return None
    timeout = given.model.timeout or defaults.timeout or DEFAULT_TIMEOUT
    return Undo(given.family, given.config, timeout, _retry(defaults.retry, given.model.retry))


def build_plan(document: Document, steps: tuple[StepPlan, ...]) -> Plan:
    """The whole plan of a document without errors. Raises ValueError if the flow's own keys are wrong."""
    flow = document.flow
    if flow is None:
        raise ValueError("the document has no flow")
    concurrency = flow.concurrency
    return Plan(
        language=flow.language,
        flow=flow.flow,
        title=flow.title,
        steps=steps,
        folder=flow.folder,
        owner=flow.owner,
        description=flow.description,
        runbook=flow.runbook,
        labels=dict(flow.labels),
        input_schema=flow.input,
        output=flow.output,
        concurrency=Concurrency(concurrency.key, concurrency.limit, concurrency.on_conflict) if concurrency else None,
        max_queued=flow.max_queued,
        budget=Budget(flow.budget.tokens, flow.budget.cost) if flow.budget else None,
        priority=flow.priority,
        queue=flow.queue,
        on_new_release=flow.on_new_release,
        vars=dict(flow.vars) or None,
        triggers=tuple(_trigger(t) for t in document.triggers),
        compensate_on=tuple(dict.fromkeys(flow.compensate)),
        deadline=flow.deadline,
        on_deadline=_handler(flow.on_deadline),
        sla=flow.sla,
        on_sla=_handler(flow.on_sla),
    )


def _trigger(doc: TriggerDoc) -> Trigger:
    config = {k: v for k, v in doc.raw.items() if k != "name"}
    return Trigger(doc.kind, doc.name, config)
