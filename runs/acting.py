"""What a step will do, as the run stands: what its expressions may name, its action, and whether it may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings

from flows.definition import expr
from flows.definition.canonical import digest
from flows.definition.inputs import with_defaults
from flows.definition.plan import UNDO, Plan, StepPlan
from flows.resolve import of_expression, resolve_action
from flows.steps import base
from flows.steps.registry import family
from resources import connections
from resources.errors import NotFound
from runs import scopes, waits
from runs.engine.state import NO_ITEM, SUCCEEDED, State, Step, scope_of
from runs.loading import place_of
from runs.store import Loaded

Json = Any


def urls_of(plan: Plan, state: State) -> dict[str, str]:
    """{callback step: its URL}. Known before the step starts, so that an earlier one can hand it out."""
    return {s: callback_url(token) for s, token in _tokens(plan, state).items()} if plan.callbacks else {}


def callback_url(token: str) -> str:
    return f"{settings.PUBLIC_URL}/callbacks/{token}"


def _tokens(plan: Plan, state: State) -> dict[str, str]:
    return {s: waits.token_of(plan, state.run_id, s, NO_ITEM, state.step(s).pass_no) for s in plan.callbacks}


def scope_for(loaded: Loaded, step: Step | None = None) -> dict[str, Json]:
    """What the step's expressions may name; with its item where it is one of a fan-out."""
    state = loaded.state
    if step is not None and step.item != NO_ITEM:
        of, item = step.id.removesuffix(UNDO), _item_of(state, step)
        own = state.step(of, step.item) if of != step.id else None
        return scope_of(state, item=item, item_index=step.item, urls=urls_of(loaded.plan, state), own=own)
    return scope_of(state, urls=urls_of(loaded.plan, state))


def _item_of(state: State, step: Step) -> Json:
    items = state.step(step.id.removesuffix(UNDO)).items or ()
    return items[step.item] if step.item < len(items) else None


def imagined(loaded: Loaded, approval: str, form: Json) -> Loaded:
    """The run as it would be had `approval` been given with these form values."""
    answer = {"decision": "approved", "digest": "", "by": [], "comment": "", "form": form}
    decided = replace(loaded.state.step(approval), status=SUCCEEDED, output=answer, item=NO_ITEM)
    return replace(loaded, state=loaded.state.with_step(decided))


def unfilled(schema: Mapping[str, Json]) -> Json:
    """An approval's form before anybody filled it in: defaults; null for what must be given and has none, which
    no vote can keep, because validation then refuses it."""
    return {**dict.fromkeys(schema.get("required", ())), **with_defaults(schema, {})}


def effective(plan: Plan, step: Step) -> StepPlan:
    """The step as it runs now: with its fallback's action once that has taken over, or asking whether it happened."""
    own = plan.step(step.id)
    if step.doubt is not None and own.already_done is not None:
        return replace(own, family=own.already_done.family, config=own.already_done.config)
    if not step.fallback or own.fallback is None or own.fallback.family is None:
        return own
    return replace(own, family=own.fallback.family, config=own.fallback.config or {})


def resolve(loaded: Loaded, step: Step) -> base.Action:
    """What this step will do. Raises ResolveError."""
    plan, state = effective(loaded.plan, step), loaded.state
    if step.item == NO_ITEM or step.id.endswith(UNDO) or not expr.names_something(plan.config):
        item = None if step.item == NO_ITEM else step.item
        scope = scope_for(loaded, step)
        return resolve_action(step.id, plan.family, plan.config, scope, item=item, place=place_of(loaded))
    try:
        known = scopes.of_item(state, urls_of(loaded.plan, state), _item_of(state, step), step.item)
    except expr.ExprError as error:
        raise of_expression(step.id, error) from error
    return resolve_action(step.id, plan.family, plan.config, known, item=step.item, place=place_of(loaded))


def granted_action(loaded: Loaded, step: Step) -> Mapping[str, Json] | None:
    """The action a protected step was approved for: these bytes are executed, nothing is resolved again."""
    for approval in loaded.plan.step(step.id).protected_by:
        granted = loaded.state.step(approval).granted or {}
        found: Mapping[str, Json] | None = granted.get(f"{step.id}:{step.item}")
        if found is not None:
            return found
    return None


def action_of(loaded: Loaded, step: Step) -> base.Action:
    """Raises ResolveError."""
    if not step.fallback and step.doubt is None and (found := granted_action(loaded, step)) is not None:
        keys = ("step", "item", "family", "connection", "config")
        return base.Action(**{k: found[k] for k in keys})
    return resolve(loaded, step)


def digest_now(action: base.Action) -> str:
    return digest(action.to_json())


def is_repeatable(plan: StepPlan, action: base.Action | None) -> bool:
    """May the same key be sent again without a second effect? Unknown counts as no."""
    if action is None:
        return False
    settings_ = None
    if action.connection is not None:
        try:
            settings_ = connections.resolve(str(action.connection["name"])).settings
        except NotFound:
            return False
    return family(plan.family).repeatable(action, settings_)
