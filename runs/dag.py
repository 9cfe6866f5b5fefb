"""A plan as a drawing: columns by rank, rows by order. Pure; geometry in the units of the SVG's viewBox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows.definition.plan import Plan, StepPlan
from flows.definition.routing import FAMILY as ROUTE
from runs.looks import Look

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 116, 26, 20, 10, 2
MAX_LABEL = 13  # letters that fit into a node


def drawing(
    plan: Plan, looks: Mapping[str, Look], selected: str = "", taken: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`taken`: outputs of steps, for the rule that a route took. Gives
    {width, height, label, nodes: [{id, x, y, text, state, word, …}], edges: [{d, css}]}."""
    place = _places(plan)
    tallest = max((row for _, row in place.values()), default=0) + 1
    columns: dict[int, int] = {}
    for column, _ in place.values():
        columns[column] = columns.get(column, 0) + 1
    spots = {s: _spot(column, row, columns[column], tallest) for s, (column, row) in place.items()}
    done = sum(looks[s.id][0] in ("succeeded", "skipped") for s in plan.steps)
    return {
        "width": MARGIN * 2 + (max(columns, default=0) + 1) * (WIDTH + GAP_X) - GAP_X,
        "height": MARGIN * 2 + tallest * (HEIGHT + GAP_Y) - GAP_Y,
        "label": f"Flow map: {done} of {len(plan.steps)} steps done",
        "nodes": [_node(s, spots[s.id], looks[s.id], s.id == selected, (taken or {}).get(s.id)) for s in plan.steps],
        "edges": [
            _edge(spots[n], spots[s.id], looks[n], looks[s.id], s.join is not None) for s in plan.steps for n in s.needs
        ],
    }


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Step id -> (column, row): a column right of all it needs, rows in the order of the plan."""
    columns: dict[str, int] = {}
    rows: dict[int, int] = {}
    place: dict[str, tuple[int, int]] = {}
    for step in ordered(plan):
        needs = {s.id: s for s in plan.steps}[step].needs
        column = max((columns[n] + 1 for n in needs), default=0)
        columns[step] = column
        place[step] = (column, rows.get(column, 0))
        rows[column] = rows.get(column, 0) + 1
    return place


def ordered(plan: Plan) -> Sequence[str]:
    """Step ids so that each comes after what it needs; the plan has no cycle."""
    left = {s.id: set(s.needs) for s in plan.steps}
    out: list[str] = []
    while left:
        ready = [s for s, needs in left.items() if needs <= set(out)]
        if not ready:
            raise ValueError(f"the steps {sorted(left)} need each other")
        out.extend(ready)
        left = {s: needs for s, needs in left.items() if s not in ready}
    return out


def _spot(column: int, row: int, rows: int, tallest: int) -> tuple[float, float]:
    top = (tallest - rows) * (HEIGHT + GAP_Y) / 2
    return MARGIN + column * (WIDTH + GAP_X), MARGIN + top + row * (HEIGHT + GAP_Y)


def _node(plan: StepPlan, spot: tuple[float, float], look: Look, selected: bool, output: Any) -> dict[str, Any]:
    x, y = spot
    step, (mark, more) = plan.id, _mark(plan, output)
    room = MAX_LABEL - len(mark)
    text = step if len(step) <= room else f"{step[: room - 1]}…"
    return {
        "id": step,
        "mark": mark,
        "title": f"{step}: {look[1]}{more}",
        "x": x,
        "y": y,
        "icon_x": x + 7,
        "icon_y": y + 6,
        "text_x": x + 26,
        "text_y": y + 17,
        "text": text,
        "state": look[0],
        "word": look[1],
        "selected": selected,
        "irreversible": plan.irreversible,
        "mark_x": x + WIDTH - 18,
        "end_x": x + WIDTH - 7,
    }


def _mark(plan: StepPlan, output: Any) -> tuple[str, str]:
    """A few letters at the end of a node, and what they mean in words: a join's count, a route's fork."""
    if plan.join is not None:
        return f"{plan.join}/{len(plan.needs)}", f", needs {plan.join} of {len(plan.needs)}"
    if plan.family == ROUTE:
        name = output.get("name") if isinstance(output, dict) else None
        return "◇", f", took {name}" if name else ", a route"
    return "", ""


def _edge(
    a: tuple[float, float], b: tuple[float, float], before: Look, after: Look, joins: bool = False
) -> dict[str, str]:
    x1, y1 = a[0] + WIDTH, a[1] + HEIGHT / 2
    x2, y2 = b[0], b[1] + HEIGHT / 2
    middle = x2 - GAP_X / 2
    d = (
        f"M{x1:g} {y1:g}H{x2:g}"
        if y1 == y2
        else f"M{x1:g} {y1:g}H{x2 - GAP_X:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
    )
    reached = after[0] not in ("queued",)
    if joins and reached and before[0] != "succeeded":
        return {"d": d, "css": "next"}  # it went on without this one
    css = "done" if before[0] == "succeeded" and reached else "" if reached else "next"
    return {"d": d, "css": css}
