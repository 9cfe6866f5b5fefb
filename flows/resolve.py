"""What a step will do, worked out before it does it: the config rendered, checked and completed.

The same Action is shown to reviewers, digested, and executed. It never holds a secret. No I/O but reading the
connection, and the binding that says which one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from flows.bindings import connection_for
from flows.definition import expr
from flows.definition.bindings import Place
from flows.definition.plan import ForEach, Plan
from flows.steps.base import Action, Refused, StepError
from flows.steps.configs import ConfigError, parse_config
from flows.steps.registry import family
from resources import artifacts, connections
from resources.errors import NotFound, OrchestraError

Json = Any
MAX_ITEMS = 10_000
#: of no flow: names stand for what they do in live runs of all flows
ANYWHERE = Place()
#: the key that marks a reference to a resource in place of a value
REF = "$res"


class ResolveError(OrchestraError):
    """A step's action cannot be worked out. `error.cls` is expression, config, refused or limit."""

    code = "not_resolvable"
    status = 422

    def __init__(self, error: StepError) -> None:
        super().__init__(error.message, details=error.details)
        self.error = error


def resolve_actions(
    plan: Plan,
    step_id: str,
    scope: Mapping[str, Json],
    *,
    item: int | Literal["all"] | None = None,
    place: Place = ANYWHERE,
) -> list[Action]:
    """The actions of a step: one, or with `item="all"` one for each item of its `for_each`. `place`: whose bindings
    say what the names of connections stand for.

    `item` a number: that item alone; `scope` may bring it along as `item`, else the items are worked out.
    Without `for_each`, "all" and None are the same. Raises ResolveError; KeyError for an unknown step.
    """
    step = plan.step(step_id)
    if step.for_each is None or item is None:
        return [resolve_action(step_id, step.family, step.config, scope, place=place)]
    base = _scope(step_id, scope)
    if item != "all" and "item" in scope:
        numbered = [(item, scope["item"])]
    else:
        items = list(enumerate(resolve_items(step_id, step.for_each, base)))
        numbered = items if item == "all" else [items[item]]
    return [
        resolve_action(step_id, step.family, step.config, _with_item(base, value, index), item=index, place=place)
        for index, value in numbered
    ]


def resolve_action(
    step_id: str,
    family_name: str,
    config: Mapping[str, Json],
    scope: Mapping[str, Json] | expr.Scope,
    *,
    item: int | None = None,
    place: Place = ANYWHERE,
) -> Action:
    """One action of a family with this config; also a step's fallback. Raises ResolveError."""
    member = family(family_name)
    try:
        parsed = parse_config(family_name, expr.render(member.at_start(config), scope))
        connection, settings = _connection(getattr(parsed, "connection", None), place)
        if connection is not None:  # what people read and approve names the connection, not what the flow calls it
            parsed = parsed.model_copy(update={"connection": connection["name"]})
        ready = member.prepare(parsed, settings)
        if more := member.more_connections(parsed):
            ready = member.with_connections(ready, [_known(name, place) for name in more])
        ready = member.pin(ready)
    except expr.ExprError as e:
        raise of_expression(step_id, e) from e
    except ConfigError as e:
        raise _error(step_id, "config", str(e), {"path": list(e.path)}) from e
    except Refused as e:
        raise _error(step_id, "refused", str(e), None) from e
    return Action(step=step_id, item=item, family=family_name, connection=connection, config=ready)


def resolve_items(step_id: str, for_each: ForEach, scope: Mapping[str, Json] | expr.Scope) -> list[Json]:
    """The items of a fan-out, or its batches. Raises ResolveError when they are no list, or too many."""
    try:
        items = expr.render(for_each.items, scope)
    except expr.ExprError as e:
        raise of_expression(step_id, e) from e
    if isinstance(items, dict) and REF in items:
        values = scope.values if isinstance(scope, expr.Scope) else scope
        items = load_kept(items, str((values.get("run") or {}).get("id", "")))
    if not isinstance(items, list):
        raise _error(step_id, "expression", f"for_each needs a list, not a {type(items).__name__}", None)
    if for_each.batch is not None:
        items = [items[i : i + for_each.batch] for i in range(0, len(items), for_each.batch)]
    if len(items) > MAX_ITEMS:
        raise _error(step_id, "limit", f"for_each has {len(items)} items; {MAX_ITEMS} are allowed", None)
    return items


def load_kept(ref: Mapping[str, Json], run_id: str) -> Json:
    """The value behind a reference in the state of that run, and of no other: an author could write any.

    Raises ResolveError of class refused, or limit where it cannot be read.
    """
    try:
        artifact = artifacts.get(str(ref.get(REF)))
        if artifact.run_id != run_id:
            raise _unreadable("refused", "the resource belongs to another run")
        return artifacts.load(artifact)
    except ResolveError:
        raise
    except (OrchestraError, ValueError) as e:
        raise _unreadable("limit", str(e)) from e


def _unreadable(cls: str, why: str) -> ResolveError:
    return ResolveError(StepError(cls, f"A value kept as a resource cannot be used: {why.rstrip('.')}."))


def _scope(step_id: str, scope: Mapping[str, Json]) -> expr.Scope:
    """Checked once for all items."""
    try:
        return expr.Scope.of(scope)
    except expr.ExprError as e:
        raise of_expression(step_id, e) from e


def _with_item(scope: expr.Scope, value: Json, index: int) -> expr.Scope:
    return expr.Scope({**scope.values, "item": value, "item_index": index})


def _connection(name: str | None, place: Place) -> tuple[dict[str, Json] | None, BaseModel | None]:
    """(what an action says of it, its settings) of what a name stands for. Raises Refused when there is none."""
    if name is None:
        return None, None
    return _known(name, place)


def _known(name: str, place: Place) -> tuple[dict[str, Json], BaseModel]:
    real = connection_for(name, place)
    try:
        ref = connections.resolve(real)
    except NotFound as e:
        why = f", which {name!r} stands for in {'test' if place.test else 'live'} runs" if real != name else ""
        raise Refused(f"There is no connection {real!r}{why}; create it under Connections") from e
    return ref.to_json(), ref.settings


def _error(step_id: str, cls: str, message: str, details: Json) -> ResolveError:
    text = f"The step {step_id} cannot be worked out: {message.rstrip('.')}."
    return ResolveError(StepError(cls, text, details))


def of_expression(step_id: str, e: expr.ExprError) -> ResolveError:
    return _error(step_id, "expression", e.message, {"expression": e.expression, "offset": e.offset})
