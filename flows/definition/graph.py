"""The graph of a flow: who waits for whom, what surely ran, and where each step is drawn. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flows.definition import routing
from flows.definition.plan import Plan, StepPlan

Needs = Mapping[str, Sequence[str]]


def derive_needs(
    steps: Sequence[tuple[str, Sequence[str] | None]], apart: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """(id, needs or None) in list order -> needs of every step. Without `needs`: the step before.

    `apart`: handler steps; they need nothing, and the order of the list passes them by.
    """
    out: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for step, needs in steps:
        if step in apart:
            out[step] = tuple(dict.fromkeys(needs or ()))
            continue
        out[step] = before if needs is None else tuple(dict.fromkeys(needs))
        before = (step,)
    return out


def needs_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {s.id: s.needs for s in plan.steps}


def find_cycle(needs: Needs) -> list[str]:
    """The steps of one cycle, each waiting for the next; empty if there is none."""
    state: dict[str, int] = {}
    for start in needs:
        trail: list[str] = []
        stack = [(start, iter(needs[start]))] if start not in state else []
        state.setdefault(start, 1)
        trail.append(start)
        while stack:
            step, rest = stack[-1]
            after = next((n for n in rest if n in needs and state.get(n) != 2), None)
            if after is None:
                state[step] = 2
                stack.pop()
                trail.pop()
            elif state.get(after) == 1:
                return trail[trail.index(after) :]
            else:
                state[after] = 1
                trail.append(after)
                stack.append((after, iter(needs[after])))
    return []


def ancestors(needs: Needs) -> dict[str, frozenset[str]]:
    """Every step that must have ended before a step starts. Unknown needs and cycles do no harm."""
    out: dict[str, frozenset[str]] = {}
    for step in needs:
        seen: set[str] = set()
        todo = [n for n in needs[step] if n in needs]
        while todo:
            found = todo.pop()
            if found not in seen:
                seen.add(found)
                todo.extend(n for n in needs[found] if n in needs)
        out[step] = frozenset(seen)
    return out


def descendants(needs: Needs, step: str) -> frozenset[str]:
    """Every step that waits for `step`, directly or not; in a cycle, itself too."""
    below: dict[str, list[str]] = {}
    for waiting, above in needs.items():
        for need in above:
            below.setdefault(need, []).append(waiting)
    seen: set[str] = set()
    todo = list(below.get(step, ())) if step in needs else []
    while todo:
        found = todo.pop()
        if found not in seen:
            seen.add(found)
            todo.extend(below.get(found, ()))
    return frozenset(seen)


def surely_ran(steps: Mapping[str, StepPlan]) -> dict[str, frozenset[str]]:
    """Which steps have certainly run, and not failed, when a step starts.

    A step that starts after success knows that its needs succeeded or were skipped by their own `if`,
    and what those knew. A step that starts after failure, or always, knows nothing. Needs an acyclic graph.
    """
    out: dict[str, frozenset[str]] = {}
    routed = {t for s in steps.values() if s.family == routing.FAMILY for t in routing.targets(s.config)}
    for step in topological({s.id: s.needs for s in steps.values()}):
        if steps[step].when != "success":
            out[step] = frozenset()
            continue
        needs = [n for n in steps[step].needs if n in steps]
        own = {n for n in needs if not may_be_skipped(steps[n]) and n not in routed}
        if steps[step].join is None:
            out[step] = frozenset(own.union(*(out[n] for n in needs)))
        else:  # some of them: only what came before each is sure
            known = [out[n] | ({n} & own) for n in needs]
            out[step] = frozenset.intersection(*known) if known else frozenset()
    return out


def may_be_skipped(step: StepPlan) -> bool:
    """By its own `if` or `when`, while those that need it go on."""
    return step.condition not in (None, True) or step.when == "failure"


def topological(needs: Needs) -> list[str]:
    """Steps so that each comes after its needs, list order where free; steps of cycles are left out."""
    left = {s: {n for n in ns if n in needs} for s, ns in needs.items()}
    out: list[str] = []
    ready = [s for s, ns in left.items() if not ns]
    users: dict[str, list[str]] = {}
    for step, above in left.items():
        for need in above:
            users.setdefault(need, []).append(step)
    while ready:
        step = ready.pop(0)
        out.append(step)
        for user in users.get(step, ()):
            left[user].discard(step)
            if not left[user]:
                ready.append(user)
    return out


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step is drawn: `rank` counts the layers from the top, `order` the places in a layer."""

    id: str
    rank: int
    order: int


def layout(plan: Plan) -> list[Place]:
    """A place for every step, in plan order. Rank: the longest way from a start; order: near its needs."""
    needs = needs_of(plan)
    rank: dict[str, int] = {}
    for step in topological(needs):
        rank[step] = 1 + max((rank[n] for n in needs[step] if n in rank), default=-1)
    order: dict[str, int] = {}
    index = {s.id: i for i, s in enumerate(plan.steps)}
    for level in range(max(rank.values(), default=-1) + 1):
        row = [s for s in index if rank.get(s) == level]
        row.sort(key=lambda s: (_middle([order[n] for n in needs[s] if n in order]), index[s]))
        order.update({s: i for i, s in enumerate(row)})
    return [Place(s.id, rank[s.id], order[s.id]) for s in plan.steps if s.id in rank]


def _middle(places: list[int]) -> float:
    return sum(places) / len(places) if places else 0.0
