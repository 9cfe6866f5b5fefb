"""What the items of a fan-out may name: what they share is looked at once, not again for each of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from flows.definition import expr
from runs.engine.state import FANNED, NO_ITEM, State, scope_of

Json = Any

#: what was shared last, and the scope made of it; kept whole, so that `is` says whether it is the same
_last: tuple[list[object], expr.Scope] | None = None


def of_item(state: State, urls: Mapping[str, str], item: Json, index: int) -> expr.Scope:
    """As `scope_of` with this item, checked. Raises ExprError."""
    shared = _shared(state, urls)
    own = expr.Scope.of({"item": item, "item_index": index})
    return expr.Scope({**shared.values, **own.values})


def _shared(state: State, urls: Mapping[str, str]) -> expr.Scope:
    global _last
    parts: list[object] = [state.run_id, state.input, state.trigger, state.started_at]
    # of a step that is fanned out only how far it is changes; nobody sees that
    parts += [s.items if s.status == FANNED else s for (_, item), s in state.steps.items() if item == NO_ITEM]
    known = _last
    if known is not None and len(known[0]) == len(parts) and all(map(operator.is_, known[0], parts)):
        return known[1]
    made = expr.Scope.of(scope_of(state, urls=urls))
    _last = parts, made
    return made
