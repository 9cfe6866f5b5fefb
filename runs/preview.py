"""What protected steps would do, for whoever decides: resolved like at dispatch, with the form's values filled in."""

from __future__ import annotations

from typing import Any

from flows.definition.canonical import digest
from flows.resolve import resolve_actions
from flows.steps.approval.step import shown_action
from resources.errors import NotFound
from runs import acting, store
from runs.loading import place_of

Json = Any


def actions_of(run_id: str, approval: str, form: Json) -> tuple[list[dict[str, Json]], str]:
    """The actions of the steps that `approval` protects if it were approved with `form`, and the digest over all.

    Raises NotFound, flows.resolve.ResolveError.
    """
    loaded = store.load(run_id)
    if loaded is None:
        raise NotFound("There is no such run.", code="run_not_found")
    scope = acting.scope_for(acting.imagined(loaded, approval, form))
    # in the order the request opened with: the digest is over all of them
    protects = loaded.plan.step(approval).config["protects"]
    place = place_of(loaded)
    actions = [a for step in protects for a in resolve_actions(loaded.plan, step, scope, item="all", place=place)]
    shown = [shown_action(a, irreversible=loaded.plan.step(a.step).irreversible) for a in actions]
    return shown, digest([a.to_json() for a in actions])
