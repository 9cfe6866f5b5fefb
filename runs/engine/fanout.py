"""Fan-out and join: which items of a `for_each` open, and what they come to together."""

from __future__ import annotations

import json
from typing import Any, Final

from flows.definition import expr
from flows.definition.plan import ForEach, StepPlan
from runs.engine.settle import cancel_step, fail, fail_for_good, skip
from runs.engine.state import CANCELLED, FAILED, FANNED, LOST, PENDING, READY, RUNNING, SUCCEEDED, UNKNOWN, Step
from runs.engine.turn import Turn

Json = Any
MAX_ITEMS: Final = 10_000
#: the key that marks a reference to a resource in place of a value
REF: Final = "$res"
#: items queued or running at once where the flow sets no bound: the rest queues behind what other runs have due
WINDOW: Final = 100


def fan_out(turn: Turn, each: ForEach, step: Step) -> None:
    """Work out the items and open the first of them."""
    try:
        items = expr.render(each.items, turn.scope())
    except expr.ExprError as error:
        fail(
            turn,
            step,
            {
                "class": "expression",
                "message": f"`for_each` of step {step.id}: {error}",
            },
        )
        return
    if isinstance(items, dict) and REF in items:  # too large for the state: whoever does the work reads it
        step = turn.make_ready(step, turn.now, load=items)
        turn.tell("step.loading", step, {"items": items})
        return
    spread(turn, each, step, items)


def spread(turn: Turn, each: ForEach, step: Step, items: Json) -> None:
    """Open the first of these items, or batches of them."""
    if not isinstance(items, list):
        what = type(items).__name__
        fail(
            turn,
            step,
            {
                "class": "expression",
                "message": f"`for_each` of step {step.id} gave a {what}, not a list.",
            },
        )
        return
    items = batches(items, each.batch)
    if len(items) > MAX_ITEMS:
        message = f"`for_each` of step {step.id} gave {len(items)} items; at most {MAX_ITEMS} are allowed."
        fail(turn, step, {"class": "limit", "message": message})
        return
    try:
        keys = _keys(turn, each, items)
    except expr.ExprError as error:
        fail(turn, step, {"class": "expression", "message": f"`for_each.key` of step {step.id}: {error}"})
        return
    step = turn.put(step, status=FANNED, items=tuple(items), keys=keys, opened=0, started_at=turn.now, wake_at=None)
    turn.tell("step.fanned", step, {"items": len(items)})
    go_on(turn, turn.plan_of(step), step)


def batches(items: list[Json], size: int | None) -> list[Json]:
    """The items, or lists of at most `size` of them."""
    return items if size is None else [items[i : i + size] for i in range(0, len(items), size)]


def _keys(turn: Turn, each: ForEach, items: list[Json]) -> tuple[str, ...] | None:
    """What orders each item among the others. Raises ExprError."""
    if each.key is None:
        return None
    scope = expr.Scope.of(turn.scope())
    values = (
        expr.render(each.key, expr.Scope({**scope.values, "item": item, "item_index": index}))
        for index, item in enumerate(items)
    )
    return tuple(json.dumps(value, sort_keys=True, separators=(",", ":")) for value in values)


def go_on(turn: Turn, plan: StepPlan, parent: Step) -> bool:
    """Open further items and join when all have settled. True when the parent itself settled."""
    each = plan.for_each
    if each is None or parent.items is None or parent.reason == LOST:
        return False
    items = turn.items_of(parent)
    bad = next((s for s in items if s.status in {FAILED, UNKNOWN, CANCELLED}), None)
    if bad is not None and each.on_item_error == "fail":
        return _stop(turn, parent, bad)
    if _is_complete(parent, items):
        return not _running(items) and _join(turn, parent)
    approved = _approved(turn, plan)
    if approved is None:
        return False  # asked again: nothing opens until people have decided
    if not approved:
        return _refuse(turn, parent, items)
    return not _open_items(turn, each, parent) and _join(turn, turn.step(parent.id))


def _is_complete(parent: Step, items: list[Step]) -> bool:
    """Every item was opened, and none was put back because its action changed."""
    return parent.opened == len(parent.items or ()) and all(s.status != PENDING for s in items)


def _running(items: list[Step]) -> list[Step]:
    return [s for s in items if not s.settled]


def _approved(turn: Turn, plan: StepPlan) -> bool | None:
    """What people say of the items that have not started: None while they are asked."""
    approvals = [turn.step(a) for a in plan.protected_by]
    if any(a.granted is None and a.settled for a in approvals):
        return False
    return None if any(a.granted is None for a in approvals) else True


def _open_items(turn: Turn, each: ForEach, parent: Step) -> bool:
    """Open as many as may run at once. True while there are some that have not settled."""
    items = turn.items_of(parent)
    total = len(parent.items or ())
    room = max(_room(each, items), 0)
    if parent.keys is not None:
        return _open_keyed(turn, parent, parent.keys, room)
    put_back = [s for s in items if s.status == PENDING]
    fresh = [_fresh(turn, parent, index) for index in range(parent.opened, min(total, parent.opened + room))]
    opening = (put_back + fresh)[:room]
    for item in opening:
        turn.make_ready(item, turn.now)
    opened = max([parent.opened, *(s.item + 1 for s in opening)])
    if opened != parent.opened:
        turn.put(parent, opened=opened)
    return bool(opening) or bool(_running(items))


def _fresh(turn: Turn, parent: Step, index: int) -> Step:
    """An item of the parent's pass; one that was there in an earlier pass goes on counting its attempts."""
    found = turn.step(parent.id, index)
    return found if found.pass_no >= parent.pass_no else Step(parent.id, index, pass_no=parent.pass_no)


def _open_keyed(turn: Turn, parent: Step, keys: tuple[str, ...], room: int) -> bool:
    """In the order of the list within a key. What comes after a failure of its key is skipped: it may build on it."""
    taken: set[str] = set()
    failed: set[str] = set()
    opened = parent.opened
    for index, key in enumerate(keys):
        item = _fresh(turn, parent, index)
        if item.status == PENDING and key in failed:
            skip(turn, item, "key")
            opened = max(opened, index + 1)
        elif item.settled:
            if item.status in _SPOILS:
                failed.add(key)
        elif item.status != PENDING or key in taken:
            taken.add(key)
        else:
            taken.add(key)
            if room > 0:
                turn.make_ready(item, turn.now)
                opened, room = max(opened, index + 1), room - 1
    if opened != parent.opened:
        turn.put(parent, opened=opened)
    return bool(taken)


#: an item that ended so keeps what follows with its key from starting
_SPOILS: Final = frozenset({FAILED, UNKNOWN, CANCELLED})


def _room(each: ForEach, items: list[Step]) -> int:
    """How many more may open. Without `max_parallel` items that wait for something take no room."""
    if each.max_parallel is not None:
        return each.max_parallel - sum(1 for s in items if not s.settled and s.status != PENDING)
    return WINDOW - sum(1 for s in items if s.status in (READY, RUNNING))


def _stop(turn: Turn, parent: Step, bad: Step) -> bool:
    """An item went wrong: the others stop. The parent fails once the last attempt in flight has ended."""
    active = _running(turn.items_of(parent))
    for item in active:
        if item.status != RUNNING:
            cancel_step(turn, item)
    if any(item.status == RUNNING for item in active):
        return False
    _fail_parent(turn, parent, bad)
    return True


def _refuse(turn: Turn, parent: Step, items: list[Step]) -> bool:
    """People said no to what had not started yet."""
    for item in items:
        if item.status == PENDING:
            skip(turn, item, "approval")
    if any(s.status != PENDING for s in _running(items)):
        return False
    skip(turn, parent, "approval")
    return True


def _join(turn: Turn, parent: Step) -> bool:
    items = turn.items_of(parent)
    unknown = next((s for s in items if s.status == UNKNOWN), None)
    if unknown is not None:  # whatever `on_item_error` says: a person must say what happened (rule 3)
        _fail_parent(turn, parent, unknown)
        return True
    outputs = [s.output if s.status == SUCCEEDED else None for s in items]
    items_kept = parent.items if turn.plan_of(parent).compensate is not None else None  # they may have to be undone
    turn.settle(parent, SUCCEEDED, output=outputs, items=items_kept, keys=None)
    turn.tell("step.joined", parent, {"items": len(outputs)})
    return True


def _fail_parent(turn: Turn, parent: Step, bad: Step) -> None:
    """Each item has had its fallback already; the whole does not get it once more."""
    error = {**(bad.error or {"class": "internal", "message": "An item failed."}), "item": bad.item}
    fail_for_good(turn, parent, error)
